"""What nnU-Net measured in each validation case: validation/summary.json of every fold of a run."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from nnunet_prosma.errors import InputError
from nnunet_prosma.host.labels import LabelKey
from nnunet_prosma.host.trained import TrainedFolder


@dataclass(frozen=True)
class ComparedCase:
    """One validation case of one run; values maps label to nnU-Net's Dice, IoU (NaN where undefined), n_ref, n_pred."""

    name: str
    fold: str
    truth: Path
    prediction: Path
    values: Mapping[LabelKey, tuple[float, float, float, float]]


def read_cases(run: TrainedFolder, folds: Iterable[str]) -> dict[str, ComparedCase]:
    """Case name -> what was measured in it, over these folds."""
    cases: dict[str, ComparedCase] = {}
    for fold in folds:
        for case in read_fold_cases(run, fold):
            if case.name in cases:
                raise InputError(
                    f"{run.name} validates the case {case.name} in the folds {cases[case.name].fold} and {fold}: "
                    f"choose folds that share no case with -f"
                )
            cases[case.name] = case
    return cases


def read_fold_cases(run: TrainedFolder, fold: str) -> list[ComparedCase]:
    found = run.folds[fold]
    return [
        ComparedCase(
            name=case.prediction.name.removesuffix(run.file_ending),
            fold=fold,
            truth=case.truth,
            prediction=found.validation / case.prediction.name,
            values={key: (v.dice, v.iou, v.n_ref, v.n_pred) for key, v in case.values.items()},
        )
        for case in found.validated_cases()
    ]
