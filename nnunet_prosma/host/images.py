"""Images as nnU-Net's readers give them, once they are seen to be whole.

The readers' libraries let damage pass: SimpleITK reads a .nii.gz that is cut off as zeros, tifffile a page that was
never written. So each file is checked first (whole.py). After reading, no value may be NaN or infinite.
"""

import contextlib
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_prosma.errors import InputError
from nnunet_prosma.host.whole import opened_picture, require_finite, require_whole, unreadable


def read_images(reader: Any, files: Sequence[str | Path]) -> tuple[np.ndarray, dict[str, Any]]:
    """One case by nnU-Net's reader: (channels, *size) and its properties."""
    require_whole(files)
    try:
        images, properties = reader.read_images([str(file) for file in files])
    except Exception as error:  # readers raise what their libraries do
        raise unreadable(files[0], error) from None
    require_finite(images, files[0] if len(files) == 1 else f"{files[0]} or a channel beside it")
    return images, properties


def read_segmentation(reader: Any, file: str | Path) -> tuple[np.ndarray, dict[str, Any]]:
    """A segmentation by nnU-Net's reader: (1, *size), of whole numbers, and its properties."""
    require_whole([file])
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # of a .tif, that no file beside it tells its spacing
            segmentation, properties = reader.read_seg(str(file))
    except Exception as error:
        raise unreadable(file, error) from None
    require_finite(segmentation, file)
    if len(segmentation) != 1:
        raise InputError(
            f"{file} must be a segmentation, one number a voxel, and is read as {len(segmentation)} channels: is it a "
            f"picture in colours, or a volume of so many slices where pictures are meant?"
        )
    if not np.issubdtype(segmentation.dtype, np.integer) and (segmentation != np.rint(segmentation)).any():
        raise InputError(f"{file} must be a segmentation, of whole numbers, and holds fractions")
    return segmentation, properties


def write_whole(write: Callable[[str], Any], file: Path) -> None:
    """write(file), and a look whether it is whole: on a full disk SimpleITK writes a part of a .nii.gz, in silence."""
    try:
        write(str(file))
        require_whole([file])
    except OSError:
        raise
    except Exception as error:  # a library's own, or that of the look
        about = " ".join(str(error).split())[-200:]
        raise InputError(f"{file} cannot be written whole ({about}): look whether there is room for it") from None


def write_segmentation(writer: Any, segmentation: np.ndarray, file: Path, properties: Any) -> None:
    """By nnU-Net's writer, which may set a file of its own beside."""
    write_whole(lambda name: writer.write_seg(segmentation, name, properties), file)


def tif_shape(file: Path) -> tuple[tuple[int, ...], int]:
    """Slices, rows and columns of a .tif, or rows and columns; and its colours. One that is damaged raises what
    tifffile does."""
    import tifffile

    with tifffile.TiffFile(file) as opened:
        first = opened.series[0]
        *size, colours = first.shape if first.axes.endswith("S") else (*first.shape, 1)
    return tuple(map(int, size)), int(colours)


def read_picture(file: Path, mode: str | None) -> np.ndarray:
    """A photograph or its mask, seen to be whole: in Pillow's mode, or as it is stored; (H, W) or (H, W, colours)."""
    require_whole([file])
    try:
        with opened_picture(file) as picture:
            picture.load()
            return np.asarray(picture.convert(mode) if mode else picture)
    except Exception as error:
        raise unreadable(file, error) from None
