"""A thin layer over sbatch, squeue and scontrol: what they are called with, and what they answer."""

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from nnunet_prosma.errors import InputError


def call(*words: str) -> str:
    """What Slurm's command prints. One that is not there, or that fails, is an InputError."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    except FileNotFoundError:
        raise InputError(
            f"there is no {words[0]} here: --slurm needs a machine from which Slurm can be asked"
        ) from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f"{words[0]} does not answer: {error}") from None
    if done.returncode:
        raise InputError(f"{' '.join(words)}: {' '.join(done.stderr.split()) or f'status {done.returncode}'}")
    return done.stdout


def submit(script: Path, *options: str) -> str:
    """The number of the job."""
    return call("sbatch", "--parsable", *options, str(script)).strip().partition(";")[0]


def queue(jobs: Sequence[str]) -> dict[tuple[str, str], str]:
    """What squeue says of these jobs: (job, task of an array or an empty text) -> state and reason."""
    if not jobs:
        return {}
    said: dict[tuple[str, str], str] = {}
    for line in call("squeue", "-h", "-r", "-o", "%F|%K|%T|%r").splitlines():
        job, task, state, reason = [*line.split("|", 3), "", "", ""][:4]
        if job in jobs:
            shown = state.lower() if reason in ("None", "") else f"{state.lower()}: {reason}"
            said[job, task if task.isdigit() else ""] = shown
    return said


def requeue(job: str) -> None:
    call("scontrol", "requeue", job)


def cancelled(job: str) -> bool:
    """Whether somebody wanted the job to end (scancel)."""
    try:
        return "JobState=CANCELLED" in call("scontrol", "show", "job", job)
    except InputError:
        return False


def seconds_to_kill() -> float:
    """Slurm's KillWait: the seconds between SIGTERM and SIGKILL."""
    try:
        found = re.search(r"KillWait\s*=\s*(\d+)", call("scontrol", "show", "config"))
    except InputError:
        found = None
    return float(found[1]) if found else 30.0


def job() -> str | None:
    """The number of this task's job, as scontrol takes it."""
    if task := os.environ.get("SLURM_ARRAY_TASK_ID"):
        return f"{os.environ['SLURM_ARRAY_JOB_ID']}_{task}"
    return os.environ.get("SLURM_JOB_ID")
