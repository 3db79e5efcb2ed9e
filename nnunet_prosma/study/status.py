"""How far each run of a study is."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nnunet_prosma.host.progress import progress_of
from nnunet_prosma.study.lock import holder_of
from nnunet_prosma.study.record import read_record
from nnunet_prosma.study.runs import Run
from nnunet_prosma.study.setting import Setting
from nnunet_prosma.study.standing import DONE, standing


@dataclass
class Status:
    key: str
    row: str
    fold: int
    repeat: int | None
    state: str
    """done, running, validating, waiting, stopped (it goes on at the next start) or failed."""
    epoch: int
    epochs: int | None
    epoch_s: float | None
    left_s: float | None
    restarts: int
    where: str
    why: str


def status_of(run: Run, setting: Setting, waiting: dict[str, str]) -> Status:
    """waiting: what Slurm's queue says of a key."""
    record, progress = read_record(setting.output, run.key), progress_of(run.folder)
    holder = holder_of(run.lock)
    last = record.attempts[-1] if record.attempts else None
    where = last.node if last else ""
    if last and last.job:
        where += f", job {last.job}"
    why = ""
    how = standing(run, setting)
    if how in DONE:
        now = "done"
        where = where if how == "finished" else "collected"
    elif holder is not None:
        now = "validating" if progress.validating else "running"
        where = str(holder.get("host")) + (f", job {holder['job']}" if holder.get("job") else "")
    elif record.given_up:
        now, why = "failed", record.why
    elif run.key in waiting:
        now, why = "waiting", waiting[run.key]
    elif last is None or last.state == "finished":
        now = "waiting"
    elif last.state == "running":
        now, why = "failed", "it ended without a word: killed, or its node failed"
    else:
        now, why = last.state, last.why
    left = progress.left_s if now in ("running", "stopped", "failed", "waiting") else None
    return Status(
        run.key,
        run.arm.row,
        run.fold,
        run.repeat,
        now,
        progress.epoch,
        progress.epochs,
        progress.epoch_s,
        left,
        record.restarts,
        where,
        why,
    )


def statuses(runs: Sequence[Run], setting: Setting, waiting: dict[str, str] | None = None) -> list[Status]:
    found = [status_of(run, setting, waiting or {}) for run in runs]
    for status in found:  # what has not begun is guessed from other runs, of the same row where there are some
        if status.state != "done" and status.left_s is None:
            known = [s for s in found if s.epochs and s.epoch_s]
            like = [s.epochs * s.epoch_s for s in known if s.row == status.row and s.epochs and s.epoch_s]
            any_row = [s.epochs * s.epoch_s for s in known if s.epochs and s.epoch_s]
            if status.epochs is None and (like or any_row):
                status.left_s = statistics.median(like or any_row)
    return found


def as_json(found: Sequence[Status]) -> list[dict[str, Any]]:
    return [asdict(status) for status in found]


def as_table(found: Sequence[Status]) -> str:
    repeats = any(status.repeat is not None for status in found)
    head = ["row", "fold", *(["repeat"] * repeats), "state", "epoch", "left", "restarts", "where", "why"]
    rows = [head]
    for s in found:
        epoch = f"{s.epoch}/{s.epochs}" if s.epochs else str(s.epoch or "-")
        left = duration(s.left_s) if s.left_s is not None else "-"
        why = s.why if len(s.why) <= 90 else f"{s.why[:87]}..."
        cells = [s.row, str(s.fold), *([str(s.repeat)] * repeats), s.state, epoch, left]
        rows.append([*cells, str(s.restarts or "-"), s.where or "-", why])
    widths = [max(len(row[n]) for row in rows) for n in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, "", summary(found)])


def summary(found: Sequence[Status]) -> str:
    """3 of 60 done, 4 running, 53 waiting; about 31 h of training left, 8 h with 4 at once."""
    counts = [
        f"{count} {name}"
        for name in ("running", "validating", "waiting", "stopped", "failed")
        if (count := sum(s.state == name for s in found))
    ]
    said = ", ".join([f"{sum(s.state == 'done' for s in found)} of {len(found)} done", *counts])
    left = [s.left_s for s in found if s.state != "done"]
    if left and all(seconds is not None for seconds in left):
        whole = sum(seconds for seconds in left if seconds is not None)
        running = sum(s.state == "running" for s in found)
        at_once = f", {duration(whole / running)} with {running} at once" if running > 1 else ""
        said += f"; about {duration(whole)} of training left{at_once}"
    return said


def duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 360000 else f"{seconds / 86400:.0f} days"
