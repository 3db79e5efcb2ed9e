"""Folders of segmentations, case by case, in any format that nnU-Net reads."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_prosma.errors import InputError, first_of
from nnunet_prosma.host.images import read_segmentation, tif_shape


def ending_in(folder: Path) -> str:
    """The ending of the images in a folder, which must all have one."""
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
) -> tuple[list[str], Callable[[str], tuple[np.ndarray, np.ndarray]]]:
    """The cases, or all predictions in the order of their names; and what reads one: the prediction and its truth.

    A case that cannot be read, or whose files are not of one image, is an InputError as it is read.
    """
    ending = ending_in(predictions)
    names = [p.name.removesuffix(ending) for p in sorted(predictions.iterdir()) if p.name.endswith(ending)]
    names = sorted(names) if cases is None else list(cases)
    for folder in (predictions, truth):
        missing = [name for name in names if not (folder / f"{name}{ending}").is_file()]
        if missing:
            files = first_of([f"{name}{ending}" for name in missing])
            raise InputError(f"{folder} has no {files}; each case needs a prediction and its truth")
    reader = _reader_by_ending(ending, [truth / f"{name}{ending}" for name in names])

    def read(name: str) -> tuple[np.ndarray, np.ndarray]:
        files = [folder / f"{name}{ending}" for folder in (predictions, truth)]
        a, b = read_pair(reader, *files)
        for array, file in zip((a, b), files, strict=True):
            if array.min(initial=0) < 0:
                raise InputError(f"{file} must be a segmentation, of whole numbers from 0 on, and holds others")
        return a[0], b[0]

    return names, read


def _reader_by_ending(ending: str, files: Sequence[Path]) -> Any:
    """nnU-Net's reader for files of this ending. A .tif may be a picture or a volume, which the first that can be read
    tells; nnU-Net's own guess takes a volume of three slices for a picture in colours."""
    from nnunetv2.imageio.reader_writer_registry import determine_reader_writer_from_file_ending
    from nnunetv2.imageio.tif_reader_writer import Tiff3DIO

    if ending in Tiff3DIO.supported_file_endings:
        for file in files:
            with suppress(Exception):  # of one that is damaged, which is said where it is read
                if len(tif_shape(file)[0]) == 3:
                    return Tiff3DIO()
                break
    return determine_reader_writer_from_file_ending(ending, verbose=False)()


def read_pair(reader: Any, prediction: Path, truth: Path) -> tuple[np.ndarray, np.ndarray]:
    """Both by nnU-Net's reader, (1, *size); they must have one geometry."""
    (a, others), (b, props) = (read_segmentation(reader, file) for file in (prediction, truth))
    try:
        check_geometry(b.shape, props, a.shape, others)
    except ValueError as error:
        raise InputError(f"{prediction} is not of the image of {truth}: {error}") from None
    return a, b


def check_geometry(
    shape: tuple[int, ...], props: Mapping[str, Any], other: tuple[int, ...], others: Mapping[str, Any]
) -> None:
    """The first shape and nnU-Net's properties are those of the truth."""
    if shape != other:
        raise ValueError(f"it has {_by(other[1:])} voxels, its ground truth {_by(shape[1:])}")
    in_file = "sitk_stuff" in props or "nibabel_stuff" in props  # a .tif has it in a file beside, which truths lack
    if in_file and not np.allclose(props["spacing"], others["spacing"], rtol=1e-3):
        raise ValueError(f"it has a spacing of {_by(others['spacing'])}, its ground truth {_by(props['spacing'])}")
    for part in ("origin", "direction"):
        a, b = (p.get("sitk_stuff", {}).get(part) for p in (props, others))
        if a is not None and b is not None and not np.allclose(a, b, rtol=1e-3, atol=1e-2):
            raise ValueError(f"its {part} is {_by(b)}, that of its ground truth {_by(a)}")
    a, b = (p.get("nibabel_stuff", {}).get("original_affine") for p in (props, others))
    if a is not None and b is not None and not np.allclose(a, b, rtol=1e-3, atol=1e-2):
        raise ValueError("its affine is not that of its ground truth")


def _by(numbers: Iterable[float]) -> str:
    return " x ".join(f"{n:.4g}" if isinstance(n, float) else str(n) for n in numbers)
