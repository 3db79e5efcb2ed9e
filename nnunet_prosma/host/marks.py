"""checkpoints.json beside nnU-Net's checkpoints, where ours wrote it.

How many epochs each of them holds, and which of them the validation that lies there is of: nnU-Net marks neither.
"""

import json
from pathlib import Path
from typing import Any

from nnunet_prosma.files import write_json

MARKS = "checkpoints.json"
VALIDATED = "validated"
SUMMARY = Path("validation") / "summary.json"
"""nnU-Net's, in a fold_X."""


def mark(path: Path, epochs: int, iterations: int, of: int = 1) -> None:
    """iterations: already done, of those of the epoch that follows."""
    stat = path.stat()
    done = {"epochs": epochs, "iterations": iterations, "of_iterations": of}
    _add(path.parent, path.name, {**done, "size": stat.st_size, "mtime_ns": stat.st_mtime_ns})


def mark_validated(folder: Path, checkpoint: str) -> None:
    _add(folder, VALIDATED, checkpoint)


def forget_validation(folder: Path) -> None:
    """Before other weights are validated, or these are trained further: a kill must not leave the earlier summary."""
    (folder / SUMMARY).unlink(missing_ok=True)
    if validated_checkpoint(folder) is not None:
        _add(folder, VALIDATED, None)


def _add(folder: Path, name: str, value: Any) -> None:
    marks = {**_read(folder), name: value}
    kept = {name: of for name, of in marks.items() if name == VALIDATED or (folder / name).is_file()}
    write_json(folder / MARKS, kept)


def read_marks(folder: Path) -> dict[str, dict[str, int]]:
    """By the checkpoint's name: epochs, iterations, of_iterations, size and mtime_ns, those of them that are there."""
    return {
        name: {key: value for key, value in of.items() if type(value) is int}
        for name, of in _read(folder).items()
        if isinstance(of, dict)
    }


def validated_checkpoint(folder: Path) -> str | None:
    """The checkpoint that was validated last; None where nothing says so."""
    name = _read(folder).get(VALIDATED)
    return name if isinstance(name, str) else None


def _read(folder: Path) -> dict[str, Any]:
    try:
        marks = json.loads((folder / MARKS).read_text())
    except (OSError, ValueError):
        return {}
    return marks if isinstance(marks, dict) else {}
