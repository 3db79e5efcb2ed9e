"""What each run costs: parameters, time per epoch, epochs, and peak memory where it was recorded."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nnunet_prosma.compare.section import Section, Table
from nnunet_prosma.host.parameters import count_parameters
from nnunet_prosma.host.trained import TrainedFolder

ENOUGH = 20
"""Epochs of each run from which on its time is a percentage of the baseline's: two on a busy machine tell nothing."""


@dataclass(frozen=True)
class Cost:
    """None where a file does not tell. seconds_per_epoch: the median over the epochs of all folds and trainings, but
    the first of each, in which networks are compiled and files cached; seconds_quartiles: the first and the third."""

    run: str
    parameters: int | None
    seconds_per_epoch: float | None
    seconds_quartiles: tuple[float, float] | None
    timed_epochs: int
    epochs: int | None
    peak_memory_gib: float | None
    gpu: str | None


def cost(run: TrainedFolder, folds: Sequence[str], trainings: Sequence[TrainedFolder] = ()) -> Cost:
    """trainings: all that the run stands for, where it is not one."""
    used = [training.folds[f] for training in trainings or [run] for f in folds if f in training.folds]
    seconds = [s for f in used for s in _later(f.log.curves.get("seconds", {}))]
    memory = [m for f in used if (m := f.log.peak_memory_gib) is not None]
    devices = {f.debug.get("gpu_name") or f.debug.get("device") for f in used} - {None}
    first, middle, third = np.percentile(seconds, (25, 50, 75)) if seconds else (None, None, None)
    return Cost(
        run=run.name,
        parameters=next((n for f in used if (n := count_parameters(f.checkpoint())) is not None), None),
        seconds_per_epoch=None if middle is None else float(middle),
        seconds_quartiles=None if first is None or third is None else (float(first), float(third)),
        timed_epochs=len(seconds),
        epochs=max((f.log.epochs for f in used), default=0) or None,
        peak_memory_gib=max(memory, default=None),
        gpu=", ".join(sorted(str(d) for d in devices)) or None,
    )


def cost_section(costs: Sequence[Cost]) -> Section:
    header = ("run", "parameters", "time per epoch", "quartiles", "epochs", "peak memory", "device")
    first = costs[0]
    rows: list[tuple[str, ...]] = [
        (
            c.run,
            f"{c.parameters:,}{_ratio(c.parameters, first.parameters)}" if c.parameters else "not readable",
            f"{c.seconds_per_epoch:.1f} s{_time_ratio(c, first)}" if c.seconds_per_epoch else "not in the logs",
            "{:.1f} to {:.1f} s".format(*c.seconds_quartiles) if c.seconds_quartiles else "–",
            str(c.epochs or "not in the logs"),
            f"{c.peak_memory_gib:.1f} GiB" if c.peak_memory_gib else "not recorded",
            c.gpu or "not recorded",
        )
        for c in costs
    ]
    text = (
        "Time per epoch is the median over the epochs of all folds and trainings in the logs, but the first of each, "
        f"on the machine of the training. It is a percentage of the baseline's only where both have {ENOUGH} epochs or "
        f"more and the same device."
    )
    return Section("What it costs", [text], tables=[Table("Cost", header, rows)], plots=("curve",))


def _later(seconds: dict[int, float]) -> list[float]:
    """The values without the first epoch, if there is another."""
    return [s for epoch, s in seconds.items() if len(seconds) == 1 or epoch != min(seconds)]


def _time_ratio(cost: Cost, first: Cost) -> str:
    one_device = cost.gpu is not None and cost.gpu == first.gpu  # two that are not known need not be one
    comparable = one_device and min(cost.timed_epochs, first.timed_epochs) >= ENOUGH
    return _ratio(cost.seconds_per_epoch, first.seconds_per_epoch) if comparable else ""


def _ratio(value: float | None, first: float | None) -> str:
    if not value or not first or value == first:
        return ""
    return f" ({100 * (value / first - 1):+.1f} %)"
