"""checkpoints.json beside nnU-Net's checkpoints: how many epochs each of them holds, where ours wrote it."""

import json
from pathlib import Path

from nnunet_prosma.files import write_json

MARKS = "checkpoints.json"


def mark(path: Path, epochs: int, iterations: int, of: int = 1) -> None:
    """iterations: already done, of those of the epoch that follows."""
    marks = read_marks(path.parent)
    stat = path.stat()
    done = {"epochs": epochs, "iterations": iterations, "of_iterations": of}
    marks[path.name] = {**done, "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
    marks = {name: of for name, of in marks.items() if (path.parent / name).is_file()}
    write_json(path.parent / MARKS, marks)


def read_marks(folder: Path) -> dict[str, dict[str, int]]:
    try:
        marks = json.loads((folder / MARKS).read_text())
    except (OSError, ValueError):
        return {}
    return marks if isinstance(marks, dict) else {}
