"""One process at a time for a run, on any node that sees nnU-Net's results.

A lock is a file beside the training's folder, so that it is one of all studies that train the same. It says who holds
it: host, its namespace of processes, process, its start, the training's process, Slurm's job. Files are made
by link and taken away by rename, which are whole on network file systems too, where flock often holds one node only.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nnunet_prosma.errors import InputError
from nnunet_prosma.files import write_json
from nnunet_prosma.files.leftovers import host, start_of


class HeldError(InputError):
    """Somebody else is at work on the run, or may be."""


class Lock:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.holder: dict[str, Any] = {
            "host": socket.gethostname(),
            "where": host(),
            "process": os.getpid(),
            "started": started(os.getpid()),
            "job": os.environ.get("SLURM_JOB_ID"),
        }

    def training(self, process: int) -> None:
        """The process that trains holds the run too, if it outlives the one that started it."""
        self.holder |= {"training": process, "training_started": started(process)}
        write_json(self.path, self.holder)

    def release(self) -> None:
        """Takes it away, unless somebody has, and holds the run now."""
        try:
            held = json.loads(self.path.read_text())
        except (FileNotFoundError, ValueError):
            return
        if held == self.holder:
            self.path.unlink(missing_ok=True)


@contextmanager
def held_alone(path: Path, what: str) -> Iterator[Lock]:
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = Lock(path)
    own = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    own.write_text(json.dumps(lock.holder))
    try:
        for _ in range(2):
            try:
                os.link(own, path)
                break
            except FileExistsError:
                _take_away_what_nobody_holds(path, what)
        else:
            raise HeldError(f"{what}: another process took it just now")
    finally:
        own.unlink()
    try:
        yield lock
    finally:
        lock.release()


def holder_of(path: Path) -> dict[str, Any] | None:
    """Who holds the lock, and is at work as far as can be known; None: nobody."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return None
    try:
        holder = json.loads(text)
    except ValueError:
        return None
    return holder if isinstance(holder, dict) and _at_work(holder) else None


def _take_away_what_nobody_holds(path: Path, what: str) -> None:
    try:
        text = path.read_text()
    except FileNotFoundError:
        return
    holder = holder_of(path)
    if holder is not None:
        who = f"process {holder.get('process')} on {holder.get('host')}"
        job = f", Slurm's job {holder['job']}" if holder.get("job") else ""
        raise HeldError(
            f"{what}: {who}{job}, is still at work on it; wait for it or end it. If it is gone for certain, remove "
            f"{path}"
        )
    away = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        os.rename(path, away)
    except FileNotFoundError:
        return
    if away.read_text() != text:  # somebody took the run in between: put it back
        with contextlib.suppress(FileExistsError):
            os.link(away, path)
    away.unlink()


def _at_work(holder: dict[str, Any]) -> bool:
    """A process of this host (and container) is looked at, one of another by Slurm's queue; without a job nobody can
    tell: at work."""
    if holder.get("where") == host():
        return any(
            holder.get(name) and started(holder[name]) == holder.get(when) is not None
            for name, when in (("process", "started"), ("training", "training_started"))
        )
    if not holder.get("job"):
        return True
    return holder["job"] != os.environ.get("SLURM_JOB_ID") and in_queue(holder["job"])  # ours: it was requeued


def in_queue(job: str) -> bool:
    """Whether Slurm still has the job; where squeue cannot be asked, it may."""
    try:
        asked = subprocess.run(["squeue", "-h", "-j", job, "-o", "%T"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return True
    if asked.returncode:
        return "Invalid job id" not in asked.stderr
    return bool(asked.stdout.strip())


def started(process: int) -> str | None:
    """The time at which a process of this host began, by which it is told from a later one of the same number; None:
    it is gone."""
    if sys.platform == "win32":
        return str(process) if process == os.getpid() else None
    return start_of(process) or None
