"""nnU-Net's splits_final.json."""

from pathlib import Path

from nnunet_prosma.errors import InputError
from nnunet_prosma.files import read_json


def read_splits(path: Path) -> list[dict[str, list[str]]]:
    """nnU-Net's splits_final.json: the cases of each fold under train and val."""
    folds: list[dict[str, list[str]]] = read_json(path, list)
    if not all(isinstance(fold, dict) and isinstance(fold.get("val"), list) for fold in folds):
        raise InputError(f"{path} must be nnU-Net's splits_final.json, a list of folds with train and val cases")
    return folds
