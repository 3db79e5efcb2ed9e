"""JSON files, nnU-Net's and ours; one that is missing or damaged is said in one sentence."""

import json
from pathlib import Path
from typing import Any

from nnunet_prosma.errors import InputError

KINDS: dict[type, str] = {dict: "object", list: "list"}


def read_json(path: Path, kind: type = dict) -> Any:
    """What stands in the file: a dict, or a list if kind says so."""
    if not path.is_file():
        raise InputError(f"{path} is missing")
    try:
        content = json.loads(path.read_text())
    except (ValueError, OSError) as error:
        raise InputError(f"{path} cannot be read ({error}): it is cut off or damaged") from None
    if not isinstance(content, kind):
        raise InputError(f"{path} must hold a JSON {KINDS[kind]}, not a {type(content).__name__}")
    return content


def read_splits(path: Path) -> list[dict[str, list[str]]]:
    """nnU-Net's splits_final.json: the cases of each fold under train and val."""
    folds: list[dict[str, list[str]]] = read_json(path, list)
    if not all(isinstance(fold, dict) and isinstance(fold.get("val"), list) for fold in folds):
        raise InputError(f"{path} must be nnU-Net's splits_final.json, a list of folds with train and val cases")
    return folds
