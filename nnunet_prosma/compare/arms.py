"""Several trainings of the same thing are one arm: its value in a case is the mean over them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from nnunet_prosma.compare.table import CaseTable
from nnunet_prosma.host.runs import short_names
from nnunet_prosma.host.trained import TrainedFolder


def arms_of(runs: Sequence[TrainedFolder]) -> list[list[int]]:
    """Indices of the trainings of each arm: those of one trainer, plans, configuration and data set are one.

    Trainings of one thing alone are held against each other, an arm each.
    """
    arms: dict[tuple[str, ...], list[int]] = {}
    for index, run in enumerate(runs):
        arms.setdefault((run.dataset, run.trainer, run.plans_name, run.configuration), []).append(index)
    return list(arms.values()) if len(arms) > 1 else [[index] for index in range(len(runs))]


def named(runs: Sequence[TrainedFolder], arms: Sequence[Sequence[int]]) -> list[TrainedFolder]:
    """The trainings under the names of their arms, numbered where an arm has several."""
    names = short_names([runs[arm[0]] for arm in arms])
    found = list(runs)
    for name, arm in zip(names, arms, strict=True):
        for number, index in enumerate(arm, 1):
            found[index] = replace(runs[index], name=f"{name}, training {number}" if len(arm) > 1 else name)
    return found


def collapse(table: CaseTable, arms: Sequence[Sequence[int]], names: Sequence[str]) -> CaseTable:
    """The table of the arms; a value that one training does not have counts for none. The trainings' own is kept."""

    def mean(values: np.ndarray) -> np.ndarray:
        return np.stack([values[list(arm)].mean(0) for arm in arms])

    values: Mapping[str, np.ndarray] = {name: mean(of) for name, of in table.values.items()}
    return replace(
        table,
        runs=list(names),
        values=dict(values),
        n_pred=mean(table.n_pred),
        trainings=table,
        arms=[list(arm) for arm in arms],
    )


def repeats_of(folders: Sequence[Path], roots: Sequence[Path]) -> list[Path]:
    """The same trainings below further results folders, DATASET/TRAINER__PLANS__CONFIGURATION in each."""
    found = [root / folder.parent.name / folder.name for root in roots for folder in folders]
    known = {folder.resolve() for folder in folders}
    return [folder for folder in found if folder.resolve() not in known]
