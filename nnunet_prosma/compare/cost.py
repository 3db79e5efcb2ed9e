"""What each run costs: parameters, time per epoch, epochs, and peak memory where it was recorded."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from nnunet_prosma.host.parameters import count_parameters
from nnunet_prosma.host.runs import Run


@dataclass(frozen=True)
class Cost:
    """None where a file does not tell. seconds_per_epoch: the median over folds of each fold's median."""

    run: str
    parameters: int | None
    seconds_per_epoch: float | None
    epochs: int | None
    peak_memory_gib: float | None
    gpu: str | None


def cost(run: Run, folds: Sequence[str]) -> Cost:
    used = [run.folds[f] for f in folds if f in run.folds]
    seconds = [s for f in used if (s := f.log.seconds_per_epoch) is not None]
    memory = [m for f in used if (m := f.log.peak_memory_gib) is not None]
    devices = {f.debug.get("gpu_name") or f.debug.get("device") for f in used} - {None}
    return Cost(
        run=run.name,
        parameters=next((n for f in used if (n := count_parameters(f.checkpoint())) is not None), None),
        seconds_per_epoch=median(seconds) if seconds else None,
        epochs=max((f.log.epochs for f in used), default=0) or None,
        peak_memory_gib=max(memory, default=None),
        gpu=", ".join(sorted(str(d) for d in devices)) or None,
    )
