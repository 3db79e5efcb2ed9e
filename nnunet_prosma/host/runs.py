"""Trained folders that are held against each other: looked up by name, and named apart."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nnunet_prosma.errors import InputError
from nnunet_prosma.host.datasets import results_folder
from nnunet_prosma.host.trained import TrainedFolder, read_trained


def folders_by_name(
    dataset: str, configuration: str, trainers: Sequence[str], plans: Sequence[str] = ("nnUNetPlans",)
) -> list[Path]:
    """nnU-Net's results folder of each trainer; plans names are one, or one for each trainer."""
    if len(plans) == 1:
        plans = list(plans) * len(trainers)
    if len(plans) != len(trainers):
        raise InputError(f"-p takes one plans name, or one for each of the {len(trainers)} trainers, not {len(plans)}")
    return [results_folder(dataset, t, p, configuration) for t, p in zip(trainers, plans, strict=True)]


def read_runs(folders: Sequence[Path]) -> list[TrainedFolder]:
    """The runs, under the shortest names that tell them apart; all that their folds say is read now."""
    resolved = [folder.resolve() for folder in folders]
    for folder in resolved:
        if resolved.count(folder) > 1:
            raise InputError(f"{folder} is given twice: a run can only be compared with another")
    runs = [read_trained(folder) for folder in folders]
    for fold in (fold for run in runs for fold in run.folds.values()):
        fold.debug, fold.log  # noqa: B018 - damaged ones are said before anything is computed
    return [replace(run, name=name) for run, name in zip(runs, short_names(runs), strict=True)]


def short_names(runs: Sequence[TrainedFolder]) -> list[str]:
    """Names of trainer, plans, configuration and path, as many as tell the runs apart."""
    parts = ("trainer", "plans_name", "configuration", "dataset")
    for used in (("trainer",), ("trainer", "plans_name"), ("trainer", "configuration"), parts[:3], parts):
        names = [" ".join(getattr(run, part) for part in used) for run in runs]
        if len(set(names)) == len(names):
            return names
    return [str(run.folder) for run in runs]
