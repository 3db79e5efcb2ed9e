"""What nnU-Net measured in each validation case: validation/summary.json of a fold."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nnunet_prosma.errors import InputError
from nnunet_prosma.host.check import read_checked
from nnunet_prosma.host.labels import LabelKey, key_from_text
from nnunet_prosma.host.schema import Measured, SummaryFile


@dataclass(frozen=True)
class ValidatedCase:
    """The file that was measured, and the one it was held against, where they lay then; values by label or region."""

    prediction: Path
    truth: Path
    values: Mapping[LabelKey, Measured]


def read_summary(path: Path) -> list[ValidatedCase]:
    """What nnU-Net measured in each case, in its order."""
    try:
        _, summary = read_checked(path, SummaryFile)
    except InputError as error:
        raise InputError(f"{error}; let nnU-Net write it again with nnUNetv2_train ... --val") from None
    return [
        ValidatedCase(
            Path(case.prediction_file),
            Path(case.reference_file),
            {_label(key, path, number): value for key, value in case.metrics.items()},
        )
        for number, case in enumerate(summary.metric_per_case)
    ]


def _label(key: str, path: Path, case: int) -> LabelKey:
    try:
        return key_from_text(key)
    except (ValueError, IndexError):
        raise InputError(
            f"{path}: $.metric_per_case[{case}].metrics names labels and regions, such as 1 or (1, 2), not {key!r}"
        ) from None
