"""One call of nnUNetv2_train for a run: under its lock, with its record."""

import os
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path

from nnunet_prosma.errors import InputError
from nnunet_prosma.host import processes
from nnunet_prosma.host.progress import progress_of
from nnunet_prosma.host.saving import LEAD, MINUTES, STOPPED
from nnunet_prosma.host.train import START
from nnunet_prosma.study import slurm
from nnunet_prosma.study.lock import Lock, held_alone
from nnunet_prosma.study.record import Attempt, Record, read_record, write_record
from nnunet_prosma.study.runs import Run, command
from nnunet_prosma.study.setting import Setting
from nnunet_prosma.study.standing import DONE, standing
from nnunet_prosma.study.stop import Stop


def attempt(
    run: Run,
    setting: Setting,
    variables: Mapping[str, str],
    stop: Stop,
    on_line: Callable[[str], None] = lambda line: None,
) -> Attempt | None:
    """Takes the run as far as it gets; what it came to is in the attempt that is returned and on record.

    None: somebody else has finished it meanwhile, such as the same study on another machine.
    """
    with held_alone(run.lock, run.title) as lock:
        record = read_record(setting.output, run.key)
        record.row, record.fold, record.repeat = run.arm.row, run.fold, run.repeat
        how = standing(run, setting)
        if how in DONE:
            return None
        now = begin(run, setting, variables, how)
        record.attempts.append(now)
        write_record(setting.output, record)
        start = time.monotonic()
        try:
            carry_out(run, setting, variables, now, lock, stop, on_line)
        finally:
            now.seconds = round(time.monotonic() - start, 1)
            now.epochs_after = progress_of(run.folder).kept
            conclude(run, setting, record, now, stop)
            write_record(setting.output, record)
    return now


def begin(run: Run, setting: Setting, variables: Mapping[str, str], how: str) -> Attempt:
    environment = {**os.environ, **variables}
    return Attempt(
        command=shlex.join(command(run, setting, how)),
        node=socket.gethostname(),
        begun=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        job=slurm.job(),
        gpus=environment.get("CUDA_VISIBLE_DEVICES"),
        log=str(setting.output / "logs" / f"{run.key}.txt"),
        results=str(run.results),
        epochs_before=progress_of(run.folder).kept,
    )


def carry_out(
    run: Run,
    setting: Setting,
    variables: Mapping[str, str],
    now: Attempt,
    lock: Lock,
    stop: Stop,
    on_line: Callable[[str], None],
) -> None:
    log = Path(now.log)
    log.parent.mkdir(parents=True, exist_ok=True)
    env = {**os.environ, **variables, "PYTHONUNBUFFERED": "1", "nnUNet_results": str(run.results)}
    env[MINUTES] = f"{setting.checkpoint_every:g}"
    if slurm.job():
        env[f"{LEAD}SIGTERM"] = f"{max(0.0, slurm.seconds_to_kill() - 1):g}"
    with ExitStack() as reached:

        def started(process: subprocess.Popen) -> None:
            lock.training(process.pid)
            reached.enter_context(stop.reaching(process))

        def follow(line: str) -> None:
            if found := re.search(r"torch's seed of this training: (\d+)", line):
                now.seed = int(found[1])
            elif found := re.search(r"nnunet-prosma: ((?:SIG\w+ |stopped by ).*)", line):
                now.why = found[1]
            on_line(line)

        name, *arguments = shlex.split(now.command)
        words = [sys.executable, "-c", START, *arguments]
        try:
            now.exit = processes.run(
                words, log, env, follow, name=name, append=True, accept=(0, STOPPED), on_start=started
            )
        except InputError as error:
            now.why = str(error)
            found = re.search(r"ended with status (-?\d+)", now.why)
            now.exit = int(found[1]) if found else None


def conclude(run: Run, setting: Setting, record: Record, now: Attempt, stop: Stop) -> None:
    if run.finished and now.exit == 0:
        now.state, record.validated = "finished", setting.study.checkpoint
    elif now.exit == STOPPED or stop.signal:
        found = re.search(r"SIG[A-Z0-9]+", now.why)
        now.state, now.signal = "stopped", found[0] if found else stop.signal
        now.why = now.why if now.exit == STOPPED and now.why else f"stopped by {now.signal}, without a new checkpoint"
    else:
        now.state = "failed"
        now.why = now.why or (
            f"{now.command} ended without checkpoint_final.pth and validation/summary.json in {run.folder}; "
            f"see {now.log}"
        )
