"""What nnU-Net measured in each validation case: validation/summary.json of every fold of a run."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_prosma.errors import InputError
from nnunet_prosma.host.labels import LabelKey, key_from_text
from nnunet_prosma.host.runs import Run

COUNTS = ("Dice", "IoU", "n_ref", "n_pred")


@dataclass(frozen=True)
class Case:
    """One validation case of one run; values maps label to nnU-Net's Dice, IoU (NaN where undefined), n_ref, n_pred."""

    name: str
    fold: str
    truth: Path
    prediction: Path
    values: Mapping[LabelKey, tuple[float, float, float, float]]


def read_cases(run: Run, folds: Iterable[str]) -> dict[str, Case]:
    """Case name -> Case over these folds."""
    cases: dict[str, Case] = {}
    for fold in folds:
        for case in read_fold_cases(run, fold):
            if case.name in cases:
                raise InputError(
                    f"{run.name} validates the case {case.name} in the folds {cases[case.name].fold} and {fold}: "
                    f"choose folds that share no case with -f"
                )
            cases[case.name] = case
    return cases


def read_fold_cases(run: Run, fold: str) -> list[Case]:
    path = run.folds[fold].summary
    try:
        entries = json.loads(path.read_bytes())["metric_per_case"]
        return [_case(run, fold, entry) for entry in entries]
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise InputError(
            f"{path} cannot be read ({type(error).__name__}: {error}): it is cut off or not nnU-Net's; let nnU-Net "
            f"write it again with nnUNetv2_train ... {fold} --val"
        ) from None


def _case(run: Run, fold: str, entry: Mapping[str, Any]) -> Case:
    file = Path(entry["prediction_file"]).name
    return Case(
        name=file.removesuffix(run.file_ending),
        fold=fold,
        truth=Path(entry["reference_file"]),
        prediction=run.folds[fold].folder / "validation" / file,
        values={key_from_text(key): tuple(float(m[c]) for c in COUNTS) for key, m in entry["metrics"].items()},  # type: ignore[misc]
    )
