"""A study through a real Slurm of one node, with a signal, a kill and a failing node."""

import json
import os
import re
import signal
import subprocess
import time

import pytest
import yaml
from slurm import AVAILABLE, NEEDED, slurm

from nnunet_prosma.study.lock import started

ARMS = {"vanilla": "nnUNetTrainerShort", "gated": "nnUNetTrainerProSMAShort"}
STUDY = {
    "title": "Vanilla and gated",
    "dataset": 9,
    "configuration": "3d_fullres",
    "folds": [0, 1],
    "compare": ["--tables-only"],
    "arms": [{"row": row, "trainer": trainer} for row, trainer in ARMS.items()],
}


@pytest.mark.slow
@pytest.mark.skipif(not AVAILABLE, reason=NEEDED)
def test_an_array_survives_a_signal_a_kill_and_a_failing_node_and_its_table_is_whole(toy, tmp_path):
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(STUDY))
    out, holds = tmp_path / "out", tmp_path / "holds"
    holds.mkdir()
    names = [f"{trainer}_{fold}" for fold in STUDY["folds"] for trainer in ARMS.values()]
    for name in names:
        (holds / name).touch()
    with slurm(tmp_path / "slurm") as conf:
        toy_env = {
            **toy.environment(),
            "nnUNet_results": str(tmp_path / "results"),
            "SLURM_CONF": conf,
            "SHORT_TRAINER_EPOCHS": "3",
            "SHORT_TRAINER_SAVES_EVERY": "50",
            "SHORT_TRAINER_HOLDS": str(holds),
            "OMP_NUM_THREADS": "1",
        }
        (tmp_path / "results").mkdir()

        def run(*words, status=0):
            done = subprocess.run([*map(str, words)], env=toy_env, capture_output=True, text=True, cwd=tmp_path)
            assert done.returncode == status, (words, done.stdout, done.stderr)
            return done.stdout

        def told(*words):
            """What may come too late, and then fail."""
            subprocess.run([*words], env=toy_env, capture_output=True)

        (node,) = run("sinfo", "-h", "-N", "-o", "%N").split()

        def until(what, *further):
            """Requeued jobs are held for two minutes, those that failed to start for good; that is lifted here."""
            for _ in range(6000):
                for line in run("squeue", "-h", "-r", "-o", "%A|%r").splitlines():
                    job, _, reason = line.partition("|")
                    if reason == "BeginTime":
                        told("scontrol", "update", f"jobid={job}", "StartTime=now")
                    elif "held" in reason.lower():  # a busy machine: slurmd did not answer in time
                        told("scontrol", "release", job)
                    elif "DOWN" in reason or "DRAINED" in reason:
                        told("scontrol", "update", f"nodename={node}", "state=resume")
                if what():
                    return
                time.sleep(0.3)
            logs = "".join(path.read_text() for path in sorted((out / "slurm" / "logs").glob("*")))
            raise AssertionError(run("squeue") + logs)

        def held(*expected):
            return lambda: all((holds / f"{name}.held").exists() for name in expected)

        study = [toy.python.with_name("nnunet-prosma"), "study", "study.yaml", "-o", "out"]
        options = ["--sbatch=-c 1", "-device", "cpu", "--checkpoint-every", "0"]
        said = run(*study, *options, "--slurm")
        array = re.search(r"job (\d+): 4 runs, sbatch --array=1,2,3,4 ", said)[1]
        assert re.search(r"job \d+: the table, when these have ended", said)

        until(held(*names[:2]))
        results = tmp_path / "results" / "Dataset009_Toy"
        lock = json.loads((results / f"{ARMS['gated']}__nnUNetPlans__3d_fullres" / ".fold_0.lock").read_text())
        assert lock["job"]
        for process in (lock["process"], lock["training"]):  # the batch script, and what it started
            os.kill(process, signal.SIGKILL)
        # scancel also fails for signals that arrive, and sends them again: what the task records is what counts
        sent = subprocess.Popen(["scancel", "-b", "-s", "USR1", f"{array}_1"], env=toy_env)
        signalled = out / "runs" / f"{names[0].removesuffix('_0')}__nnUNetPlans__3d_fullres__fold_0.json"
        until(lambda: json.loads(signalled.read_text())["attempts"][0].get("signal") == "SIGUSR1")
        sent.kill()
        sent.wait()

        until(held(*names[2:]))
        locks = [json.loads(path.read_text()) for path in results.glob("*/.fold_1.lock")]
        run("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
        for _ in range(100):  # Slurm does not start a job where its first copy still ends
            if not any(started(lock["process"]) for lock in locks):
                break
            time.sleep(0.3)
        told("scontrol", "update", f"nodename={node}", "state=resume")  # it may have come back by itself

        until(lambda: not run("squeue", "-h").strip())
    table = (out / "table.md").read_text()
    assert "Not finished" not in table
    for row in ARMS:
        assert re.search(rf"^\| {row} \| – \| – \|.*\| 0, 1 \|$", table, re.MULTILINE)
    for name in names:
        trainer, _, fold = name.rpartition("_")
        folder = tmp_path / "results" / "Dataset009_Toy" / f"{trainer}__nnUNetPlans__3d_fullres" / f"fold_{fold}"
        log = "".join(path.read_text() for path in sorted(folder.glob("training_log_*.txt")))
        epochs = re.findall(r": Epoch (\d+) *\n", log)
        ended = len(re.findall(r": Epoch time: ", log))
        assert ended == 3, name  # no epoch is trained twice
        record = json.loads((out / "runs" / f"{trainer}__nnUNetPlans__3d_fullres__fold_{fold}.json").read_text())
        assert record["restarts"] == 1, record
        kept = record["attempts"][1]["epochs_before"]
        whole, cut_off = (["0", "1", "2"], 2), (["0", "1", "1", "2"], 1)
        if name == names[0]:  # a signal leaves the time for the epoch's end
            assert (epochs, kept) == whole, name
        elif name == names[1]:  # a kill leaves none
            assert (epochs, kept) == cut_off, name
        else:  # a failing node: whatever fits before its KillWait, part of an epoch too
            assert (epochs, kept) == whole or (epochs == cut_off[0] and 1 <= kept < 2), (name, kept)
