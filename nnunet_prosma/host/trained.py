"""A trained folder of nnU-Net's, TRAINER__PLANS__CONFIGURATION, with its folds."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from nnunet_prosma.errors import InputError
from nnunet_prosma.host.check import read_checked
from nnunet_prosma.host.dataset_json import Dataset
from nnunet_prosma.host.labels import LabelKey
from nnunet_prosma.host.marks import SUMMARY, validated_checkpoint
from nnunet_prosma.host.plans import Plans, Setup
from nnunet_prosma.host.schema import DebugFile
from nnunet_prosma.host.summaries import ValidatedCase, read_summary
from nnunet_prosma.host.training_log import TrainingLog, read_training_logs, retrained

FINAL, BEST, LATEST = (f"checkpoint_{name}.pth" for name in ("final", "best", "latest"))


@dataclass(frozen=True)
class Fold:
    """fold_X. It need not be there; what its files say is read when it is asked for, once."""

    folder: Path

    @property
    def name(self) -> str:
        """The fold's name in nnU-Net's commands: 0, 1, ..., or all."""
        return self.folder.name.removeprefix("fold_")

    def checkpoint(self, name: str = FINAL) -> Path:
        return self.folder / name

    @property
    def begun(self) -> bool:
        return any(self.checkpoint(name).is_file() for name in (LATEST, BEST))

    @property
    def finished(self) -> bool:
        """Whether it was trained to the end."""
        return self.checkpoint().is_file() or self.collected

    @property
    def collected(self) -> bool:
        """Whether nnunet-prosma study --collect keeps it here, without a checkpoint."""
        return (self.folder / "collected.json").is_file()

    @property
    def validated(self) -> bool:
        return self.summary.is_file()

    @property
    def retrained(self) -> bool:
        """Whether it was trained after its validation, as far as its logs tell: then the summary is of other weights.

        This package's trainers delete the summary first; nnU-Net's leaves it until the new validation is whole.
        """
        return self.validated and retrained(self.folder)

    @property
    def validated_checkpoint(self) -> str:
        """Name of the checkpoint that the validation is of; where no mark tells it the final one, nnU-Net's default."""
        return validated_checkpoint(self.folder) or FINAL

    @property
    def validation(self) -> Path:
        """The folder of nnU-Net's validation."""
        return self.folder / "validation"

    @property
    def summary(self) -> Path:
        return self.folder / SUMMARY

    def validated_cases(self) -> list[ValidatedCase]:
        """What nnU-Net measured in each validation case."""
        return read_summary(self.summary)

    @cached_property
    def debug(self) -> dict[str, str]:
        """debug.json, all as text; empty where there is none."""
        path = self.folder / "debug.json"
        if not path.is_file():
            return {}
        said = read_checked(path, DebugFile)[1]
        return {key: str(value) for key, value in said.items() if value is not None}

    @cached_property
    def log(self) -> TrainingLog:
        return read_training_logs(self.folder)


@dataclass(frozen=True)
class TrainedFolder:
    """folder as given. name is what a report calls it, at first its trainer."""

    folder: Path
    name: str
    trainer: str
    setup: Setup
    folds: dict[str, Fold]

    @property
    def identifier(self) -> str:
        """TRAINER__PLANS__CONFIGURATION."""
        return self.folder.resolve().name

    @property
    def dataset(self) -> str:
        """The data set's name, such as Dataset009_Spleen."""
        return self.setup.plans.dataset

    @property
    def plans_name(self) -> str:
        """The plans' name in the folder's name, where that has three parts, else of the plans."""
        parts = self.identifier.split("__")
        return parts[1] if len(parts) == 3 else self.setup.plans.name

    @property
    def configuration(self) -> str:
        return self.setup.configuration

    @property
    def labels(self) -> dict[LabelKey, str]:
        """nnU-Net's label or region -> its name, in nnU-Net's order."""
        return self.setup.dataset.labels

    @property
    def ignore_label(self) -> int | None:
        return self.setup.dataset.ignore_label

    @property
    def file_ending(self) -> str:
        return self.setup.dataset.file_ending

    @property
    def unit(self) -> str:
        """The unit of distances: mm, or px where nnU-Net's reader knows no spacing."""
        return self.setup.plans.unit

    @property
    def fingerprint(self) -> Path:
        return self.folder / "dataset_fingerprint.json"

    def reader(self) -> Any:
        """nnU-Net's reader for the images of this data set."""
        return self.setup.plans.reader()

    def settings(self) -> dict[str, Any]:
        """The configuration as nnU-Net resolves it, with what the plans say for all configurations."""
        return self.setup.settings()

    def checkpoints(self, folds: Sequence[str], name: str = FINAL) -> list[Path]:
        """The checkpoint of each of these folds; one that is missing is an InputError."""
        return checkpoints_of(self.folder, folds, name)


def checkpoints_of(folder: Path, folds: Sequence[str], name: str = FINAL) -> list[Path]:
    """The checkpoint of each of these folds; one that is missing is an InputError."""
    there = sorted(path.parent.name.removeprefix("fold_") for path in folder.glob("fold_*/*") if path.name == name)
    if absent := [fold for fold in folds if not (folder / f"fold_{fold}" / name).is_file()]:
        known = f"there is one of fold {', '.join(there)}: choose with -f"
        choice = known if there else "train it, or choose with -chk"
        raise InputError(f"{folder} holds no {name} of fold {', '.join(absent)}; {choice}")
    return [folder / f"fold_{fold}" / name for fold in folds]


def require_trained(folder: Path) -> None:
    """What is not a folder with plans.json and dataset.json is an InputError."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: train this run first, or name another results folder")
    for name in ("plans.json", "dataset.json"):
        if not (folder / name).is_file():
            raise InputError(
                f"{folder} holds no {name}: it must be a model's folder TRAINER__PLANS__CONFIGURATION, which nnU-Net "
                f"fills in training"
            )


def read_trained(folder: Path, configuration: str | None = None) -> TrainedFolder:
    """Plans and dataset.json are read and checked now, what the folds hold when it is asked for.

    configuration is for who knows it from a checkpoint; else the folder's name tells it.
    """
    require_trained(folder)
    plans = Plans.read(folder / "plans.json")
    dataset = Dataset.read(folder / "dataset.json")
    folds = {fold.name: fold for path in sorted(folder.glob("fold_*")) if path.is_dir() and (fold := Fold(path))}
    if not folds:
        raise InputError(f"{folder} holds no fold_X: it must be the folder TRAINER__PLANS__CONFIGURATION of nnU-Net")
    parts = folder.resolve().name.split("__")
    trainer, named = (parts[0], parts[2]) if len(parts) == 3 else (folder.resolve().name, "")
    noted = (fold.debug.get("configuration_name") for fold in folds.values())
    configuration = configuration or named or next((name for name in noted if name), "")
    if configuration not in plans.configurations:
        raise InputError(
            f"{folder}: its plans.json knows no configuration {configuration!r}; the folder's name must end in one"
        )
    setup = Setup(plans, configuration, dataset)
    setup.said  # noqa: B018 - what is wrong with it is said now
    return TrainedFolder(folder, trainer, trainer, setup, folds)
