"""Folders of segmentations, case by case, in any format that nnU-Net reads."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_prosma.errors import InputError
from nnunet_prosma.host.images import read_segmentation


def ending_in(folder: Path) -> str:
    """Of the images in a folder, which must all have one."""
    from nnunetv2.imageio.reader_writer_registry import LIST_OF_IO_CLASSES

    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; name one that holds predictions")
    known = sorted({e for reader in LIST_OF_IO_CLASSES for e in reader.supported_file_endings}, key=len, reverse=True)
    found = {next((e for e in known if p.name.endswith(e)), "") for p in folder.iterdir() if p.is_file()} - {""}
    if len(found) != 1:
        what = f"images of several kinds ({', '.join(sorted(found))})" if found else "no image that nnU-Net reads"
        raise InputError(f"{folder} holds {what}; it must hold predictions of one kind")
    return found.pop()


def pairs_of(
    predictions: Path, truth: Path, cases: Sequence[str] | None
) -> tuple[list[str], Iterator[tuple[np.ndarray, np.ndarray]]]:
    """The cases, or all predictions in the order of their names; and of each the prediction and its truth."""
    ending = ending_in(predictions)
    names = [p.name.removesuffix(ending) for p in sorted(predictions.iterdir()) if p.name.endswith(ending)]
    names = sorted(names) if cases is None else list(cases)
    for folder in (predictions, truth):
        missing = [name for name in names if not (folder / f"{name}{ending}").is_file()]
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise InputError(f"{folder} has no {missing[0]}{ending}{more}; each case needs a prediction and its truth")
    return names, (_pair(predictions / f"{name}{ending}", truth / f"{name}{ending}", ending) for name in names)


def _pair(prediction: Path, truth: Path, ending: str) -> tuple[np.ndarray, np.ndarray]:
    (a, spacing), (b, true_spacing) = (_read(file, ending) for file in (prediction, truth))
    if a.shape != b.shape:
        raise InputError(f"{prediction} is of size {_size(a)} and its truth {truth} of {_size(b)}: not one image")
    if not np.allclose(spacing, true_spacing, rtol=1e-3):
        raise InputError(
            f"{prediction} has a spacing of {_by(spacing)} and its truth {truth} of {_by(true_spacing)}: not one image"
        )
    return a, b


def _read(file: Path, ending: str) -> tuple[Any, Sequence[float]]:
    """The labels of a segmentation, and its spacing."""
    from nnunetv2.imageio.reader_writer_registry import determine_reader_writer_from_file_ending

    reader = determine_reader_writer_from_file_ending(ending, verbose=False)()
    labels, properties = read_segmentation(reader, file)
    if labels.min(initial=0) < 0:
        raise InputError(f"{file} must be a segmentation, of whole numbers from 0 on, and holds others")
    return labels[0], list(properties["spacing"])


def _size(array: Any) -> str:
    return "x".join(str(n) for n in array.shape if n > 1)


def _by(spacing: Sequence[float]) -> str:
    return " x ".join(f"{step:g}" for step in spacing)
