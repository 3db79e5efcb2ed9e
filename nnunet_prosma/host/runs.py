"""A trained nnU-Net run, as its results folder holds it: TRAINER__PLANS__CONFIGURATION with its fold_X."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_prosma.errors import InputError
from nnunet_prosma.files import read_json
from nnunet_prosma.host.labels import LabelKey as LabelKey
from nnunet_prosma.host.labels import read_labels
from nnunet_prosma.host.training_log import TrainingLog, read_training_logs


@dataclass(frozen=True)
class Fold:
    name: str
    folder: Path
    finished: bool
    debug: dict[str, str]
    log: TrainingLog

    @property
    def summary(self) -> Path:
        return self.folder / "validation" / "summary.json"


@dataclass(frozen=True)
class Run:
    """name is what the report calls it; labels maps nnU-Net's label or region to its name, in nnU-Net's order."""

    name: str
    folder: Path
    dataset: str
    trainer: str
    plans_name: str
    configuration: str
    plans: dict[str, Any]
    dataset_json: dict[str, Any]
    labels: dict[LabelKey, str]
    ignore_label: int | None
    folds: dict[str, Fold]

    @property
    def file_ending(self) -> str:
        return str(self.dataset_json["file_ending"])

    @property
    def unit(self) -> str:
        """Of distances: mm, or px where nnU-Net's reader knows no spacing."""
        return "px" if self.plans.get("image_reader_writer") == "NaturalImage2DIO" else "mm"

    def settings(self) -> dict[str, Any]:
        """The configuration as nnU-Net resolves it, with what the plans say for all configurations."""
        own = resolved(self.plans["configurations"], self.configuration)
        if "architecture" not in own:  # plans of nnU-Net 2.0 to 2.2, which nnU-Net itself brings up to date
            from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

            own = PlansManager(self.plans).get_configuration(self.configuration).configuration
        return {**{k: v for k, v in self.plans.items() if k != "configurations"}, **own}


def resolved(configurations: dict[str, Any], name: str, before: tuple[str, ...] = ()) -> dict[str, Any]:
    """A configuration with all that it inherits; nnU-Net's own way to it imports torch."""
    own = configurations[name]
    parent = own.get("inherits_from")
    if parent is None:
        return dict(own)
    if parent in (*before, name) or parent not in configurations:
        raise InputError(f"the plans' configuration {name} inherits from {parent}, which is not there or leads back")
    return {**resolved(configurations, parent, (*before, name)), **own}


def folders_by_name(
    dataset: str, configuration: str, trainers: Sequence[str], plans: Sequence[str] = ("nnUNetPlans",)
) -> list[Path]:
    """nnU-Net's results folder of each trainer; plans names are one, or one for each trainer."""
    from nnunetv2.paths import nnUNet_results
    from nnunetv2.utilities.file_path_utilities import get_output_folder

    if not nnUNet_results.is_set():
        raise InputError("the environment variable nnUNet_results is not set: set it, or name folders with --folders")

    if len(plans) == 1:
        plans = list(plans) * len(trainers)
    if len(plans) != len(trainers):
        raise InputError(f"-p takes one plans name, or one for each of the {len(trainers)} trainers, not {len(plans)}")
    try:
        return [Path(get_output_folder(dataset, t, p, configuration)) for t, p in zip(trainers, plans, strict=True)]
    except (RuntimeError, ValueError) as error:
        raise InputError(f"nnU-Net knows no data set {dataset}: {' '.join(str(error).split())}") from None


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """The runs, under the shortest names that tell them apart."""
    resolved = [folder.resolve() for folder in folders]
    for folder in resolved:
        if resolved.count(folder) > 1:
            raise InputError(f"{folder} is given twice: a run can only be compared with another")
    runs = [read_run(folder) for folder in folders]
    return [Run(**{**vars(run), "name": name}) for run, name in zip(runs, short_names(runs), strict=True)]


def read_run(folder: Path) -> Run:
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: train this run first, or name another results folder")
    plans, dataset_json = (read_json(folder / name) for name in ("plans.json", "dataset.json"))
    folds = {f.name.removeprefix("fold_"): read_fold(f) for f in sorted(folder.glob("fold_*")) if f.is_dir()}
    if not folds:
        raise InputError(f"{folder} holds no fold_X: it must be the folder TRAINER__PLANS__CONFIGURATION of nnU-Net")
    labels, ignore_label = read_labels(folder / "dataset.json", dataset_json)
    debug = next((f.debug for f in folds.values() if f.debug), {})
    parts = folder.resolve().name.split("__")
    trainer, plans_name, configuration = (
        parts
        if len(parts) == 3
        else (folder.resolve().name, str(plans.get("plans_name")), debug.get("configuration_name", ""))
    )
    if configuration not in plans.get("configurations", {}):
        raise InputError(
            f"{folder}: its plans.json knows no configuration {configuration!r}; the folder's name must end in one"
        )
    return Run(
        name=trainer,
        folder=folder,
        dataset=str(plans.get("dataset_name")),
        trainer=trainer,
        plans_name=plans_name,
        configuration=configuration,
        plans=plans,
        dataset_json=dataset_json,
        labels=labels,
        ignore_label=ignore_label,
        folds=folds,
    )


def read_fold(folder: Path) -> Fold:
    debug = folder / "debug.json"
    return Fold(
        name=folder.name.removeprefix("fold_"),
        folder=folder,
        finished=(folder / "checkpoint_final.pth").is_file(),
        debug=read_json(debug) if debug.is_file() else {},
        log=read_training_logs(folder),
    )


def short_names(runs: Sequence[Run]) -> list[str]:
    """Of trainer, plans, configuration and path, as many as tell the runs apart."""
    parts = ("trainer", "plans_name", "configuration", "dataset")
    for used in (("trainer",), ("trainer", "plans_name"), ("trainer", "configuration"), parts[:3], parts):
        names = [" ".join(getattr(run, part) for part in used) for run in runs]
        if len(set(names)) == len(names):
            return names
    return [str(run.folder) for run in runs]
