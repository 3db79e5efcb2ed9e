"""How far a training is: epochs done, epochs that a checkpoint keeps, and how long one takes."""

import re
from dataclasses import dataclass
from pathlib import Path

from nnunet_prosma.errors import InputError
from nnunet_prosma.files import read_json
from nnunet_prosma.host.marks import read_marks
from nnunet_prosma.host.trained import BEST, FINAL, LATEST
from nnunet_prosma.host.training_log import read_training_logs


@dataclass(frozen=True)
class Progress:
    epoch: int
    """Epochs that were finished, kept or not."""
    kept: float
    """Epochs in the checkpoint that nnUNetv2_train --c would go on from, with the part of one that was cut off."""
    epochs: int | None
    """Epochs of the whole training."""
    epoch_s: float | None
    """Time of the median epoch."""
    validating: bool

    @property
    def left_s(self) -> float | None:
        if self.epochs is None or self.epoch_s is None:
            return None
        return (self.epochs - self.epoch) * self.epoch_s


def progress_of(folder: Path) -> Progress:
    """How far a fold_X of nnU-Net is, which need not exist."""
    log = read_training_logs(folder)
    epoch = max(log.curves.get("seconds", {}), default=-1) + 1
    epochs = _number(folder / "debug.json", "num_epochs")
    final = (folder / FINAL).is_file()
    if final:
        kept = float(epochs if epochs is not None else epoch)
    else:
        kept = _kept(folder, LATEST if (folder / LATEST).is_file() else BEST)
    return Progress(int(kept) if final else epoch, kept, epochs, log.seconds_per_epoch, final)


def _kept(folder: Path, name: str) -> float:
    """The epochs that a checkpoint keeps, by our mark beside it; else what nnU-Net's own saving tells of the file:
    nothing but that it is there."""
    if not (folder / name).is_file():
        return 0
    mark = read_marks(folder).get(name, {})
    return mark.get("epochs", 0) + mark.get("iterations", 0) / max(1, mark.get("of_iterations", 1))


def _number(path: Path, name: str) -> int | None:
    """A file that is not there, or that a kill or a full disk has cut off, tells none."""
    try:
        found = re.fullmatch(r"\d+", str(read_json(path).get(name, "")))
    except InputError:
        return None
    return int(found[0]) if found else None
