"""A study as an array of Slurm's jobs: what is submitted, what a task does at its end, what follows."""

import os
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone

from nnunet_prosma.errors import InputError
from nnunet_prosma.files import read_json, write_json
from nnunet_prosma.study import slurm
from nnunet_prosma.study.lock import holder_of
from nnunet_prosma.study.record import Attempt, read_record, write_record
from nnunet_prosma.study.runs import Run, runs_of
from nnunet_prosma.study.scripts import write_scripts
from nnunet_prosma.study.setting import Setting
from nnunet_prosma.study.standing import DONE, standing

STALLED = 3
"""Restarts in a row that came no further end a run."""


def submit(
    setting: Setting, options: Sequence[str], parallel: int | None, left: int, only: Sequence[str] | None = None
) -> list[str]:
    """Submits what is neither done nor in Slurm's queue, and a job that follows. The lines to print.

    only: the keys that a follow-up submits again; None: all, and what was given up gets another chance.
    """
    runs = runs_of(setting)
    waiting = in_queue(setting)
    refuse_to_lose(runs, waiting)
    wanted = [run for run in runs if standing(run, setting) not in DONE and run.key not in waiting]
    wanted = [run for run in wanted if holder_of(run.lock) is None]
    if only is None:
        for run in wanted:
            record = read_record(setting.output, run.key)
            record.given_up, record.counted_from = "", len(record.attempts)
            if record.attempts:
                write_record(setting.output, record)
    else:
        wanted = [run for run in wanted if run.key in only]
    array, table = write_scripts(runs, setting, options, left, parallel)
    said, jobs = [], {*jobs_in_queue(setting)}
    if wanted:
        lines = (setting.output / "slurm" / "runs.txt").read_text().splitlines()
        keys = {str(lines.index(run.key) + 1): run.key for run in wanted}
        numbers = ",".join(keys) + (f"%{parallel}" if parallel else "")
        job = slurm.submit(array, f"--array={numbers}")
        remember(setting, job, keys)
        jobs.add(job)
        said.append(f"job {job}: {len(wanted)} runs, sbatch --array={numbers} {array}")
    if jobs:
        leave_out_earlier_table(setting)
        follower = slurm.submit(table, f"--dependency=afterany:{':'.join(sorted(jobs))}")
        write_json(setting.output / "slurm" / "table.json", {"job": follower})
        said.append(f"job {follower}: the table, when these have ended")
    return said


def refuse_to_lose(runs: Sequence[Run], waiting: Mapping[str, str]) -> None:
    """Tasks read the study when they start: what the queue holds must be in the one that is submitted now."""
    if lost := sorted(set(waiting) - {run.key for run in runs}):
        raise InputError(
            f"Slurm's queue holds runs of this folder that the study as given now lacks ({', '.join(lost)}): give it "
            f"with their folds and arms too, since what waits is not submitted twice; or name another -o, or end them "
            f"with scancel"
        )


def leave_out_earlier_table(setting: Setting) -> None:
    """One job that follows is enough."""
    path = setting.output / "slurm" / "table.json"
    earlier = str(read_json(path)["job"]) if path.is_file() else ""
    if earlier and earlier != os.environ.get("SLURM_JOB_ID") and slurm.queue([earlier]):
        slurm.call("scancel", earlier)


def remember(setting: Setting, job: str, keys: dict[str, str]) -> None:
    """Writes down which run each task of a job is."""
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    write_json(setting.output / "slurm" / "jobs" / f"{job}.json", {"submitted": now, "runs": keys})


def known_jobs(setting: Setting) -> dict[str, dict[str, str]]:
    return {path.stem: read_json(path)["runs"] for path in (setting.output / "slurm" / "jobs").glob("*.json")}


def jobs_in_queue(setting: Setting) -> list[str]:
    known = known_jobs(setting)
    own = os.environ.get("SLURM_JOB_ID")
    return [job for job, _ in slurm.queue(list(known)) if job != own]


def in_queue(setting: Setting) -> dict[str, str]:
    """Key -> what Slurm's queue says of it."""
    known = known_jobs(setting)
    said = slurm.queue(list(known)) if known else {}
    return {known[job][task]: shown for (job, task), shown in said.items() if task in known[job]}


def end_of_task(run: Run, setting: Setting, last: Attempt) -> str:
    """What follows an attempt in a task of Slurm's: nothing, or another one. A sentence."""
    job = slurm.job()
    record = read_record(setting.output, run.key)
    if last.state != "stopped" or job is None or "SLURM_ARRAY_TASK_ID" not in os.environ:
        return ""
    if last.signal == "SIGTERM" and slurm.cancelled(job):
        record.given_up = "cancelled (scancel)"
    elif record.without_progress >= STALLED:
        record.given_up = f"{STALLED} starts in a row came no epoch further: {last.why}"
    if record.given_up:
        write_record(setting.output, record)
        return record.given_up
    try:
        slurm.requeue(job)
        return f"job {job} is requeued"
    except InputError as error:
        if "pending execution" in str(error):
            return f"Slurm has requeued job {job} itself"
        if last.signal == "SIGTERM":
            return f"job {job} cannot be requeued ({error}); the job that follows submits it again"
    task = os.environ.get("SLURM_ARRAY_TASK_ID", "")
    again = slurm.submit(setting.output / "slurm" / "array.sh", f"--array={task}")
    remember(setting, again, {task: run.key})
    return f"job {job} may not be requeued, so job {again} goes on"


def died(setting: Setting) -> list[str]:
    """Keys of the runs that ended without a word, or killed, and are not given up: a further start may help."""
    keys = []
    waiting = in_queue(setting)
    for run in runs_of(setting):
        if standing(run, setting) in DONE or run.key in waiting or holder_of(run.lock) is not None:
            continue
        record = read_record(setting.output, run.key)
        last = record.attempts[-1] if record.attempts else None
        killed = last is None or last.state in ("running", "stopped") or (last.exit is not None and last.exit < 0)
        if killed and not record.given_up and record.without_progress < STALLED:
            keys.append(run.key)
    return keys


def follow_up(setting: Setting, options: Sequence[str], parallel: int | None, left: int) -> list[str]:
    """What is done after an array: the lines of what was submitted again; none if the table is to be made."""
    if jobs_in_queue(setting):  # tasks that submitted themselves again
        return submit(setting, options, parallel, left, only=[])
    if left > 0 and (again := died(setting)):
        return submit(setting, options, parallel, left - 1, only=again)
    return []
