"""nnU-Net's splits_final.json."""

from pathlib import Path

from nnunet_prosma.errors import InputError
from nnunet_prosma.host.check import read_checked
from nnunet_prosma.host.schema import Split


def read_splits(path: Path) -> list[Split]:
    """The cases of each fold under train and val."""
    _, folds = read_checked(path, list[Split], list)
    if not folds:
        raise InputError(f"{path} must be nnU-Net's splits_final.json, a list of folds with train and val cases")
    return folds
