"""A challenge's images as nnU-Net's reader of the training would have given them, and segmentations on their grid."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
import tifffile

from nnunet_prosma.container.sockets import Socket
from nnunet_prosma.errors import InputError
from nnunet_prosma.files.leftovers import taken
from nnunet_prosma.host.images import tif_shape, write_whole
from nnunet_prosma.host.plans import Plans
from nnunet_prosma.host.whole import require_whole

PHOTOGRAPHS, STACKS = "NaturalImage2DIO", "Tiff3DIO"
MEDICAL = ("SimpleITKIO", "NibabelIO")
"""Both give the same array and spacing; the others of nnU-Net's readers turn the image first."""
MEASURED_STACKS = "Tiff3DIO, with the size of voxels"
"""The reader of stacks in a training in which files beside the images told the size of voxels."""
TOLERANCE_MM = 1e-3


@dataclass(frozen=True)
class Header:
    """What can be known of an image before its voxels are read. Size and spacing go x, y, z."""

    size: tuple[int, ...]
    components: int
    """Colours, or whatever each voxel holds."""
    spacing: tuple[float, ...] | None = None
    origin: tuple[float, ...] | None = None
    direction: tuple[float, ...] | None = None


def is_tif(path: Path) -> bool:
    return path.name.lower().endswith((".tif", ".tiff"))


def read_header(path: Path) -> Header:
    try:
        header = _tif_header(path) if is_tif(path) else _itk_header(path)
    except Exception as error:  # each library has its own
        raise InputError(f"{path} cannot be read as an image: {' '.join(str(error).split())[:300]}") from None
    if len(header.size) not in (2, 3):
        raise InputError(
            f"{path} has {len(header.size)} dimensions, {'x'.join(map(str, header.size))}; it must have 2 or 3"
        )
    return header


def _itk_header(path: Path) -> Header:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    return Header(
        reader.GetSize(), reader.GetNumberOfComponents(), reader.GetSpacing(), reader.GetOrigin(), reader.GetDirection()
    )


def _tif_header(path: Path) -> Header:
    size, colours = tif_shape(path)
    return Header(size[::-1], colours)


def check_headers(files: Sequence[Path], sockets: Sequence[Socket], headers: Sequence[Header]) -> None:
    """Channels of one case lie on one grid."""
    for path, socket, header in zip(files, sockets, headers, strict=True):
        if header.components != len(socket.channels):
            raise InputError(
                f"{path} holds {header.components} values at each voxel, and {len(socket.channels)} are needed"
            )
    for path, header in zip(files[1:], headers[1:], strict=True):
        for name in ("size", "spacing", "origin", "direction"):
            one, other = getattr(headers[0], name), getattr(header, name)
            if (one is None) != (other is None) or (one is not None and not _close(one, other)):
                raise InputError(f"{files[0]} and {path} do not lie on one grid: their {name} is {one} and {other}")


def _close(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return len(one) == len(other) and bool(np.allclose(one, other, rtol=0, atol=TOLERANCE_MM))


def read_image(
    files: Sequence[Path], sockets: Sequence[Socket], headers: Sequence[Header], reader: str
) -> tuple[np.ndarray, dict[str, Any]]:
    """(channels, z, y, x) in the order of the network, and the properties that nnU-Net asks for."""
    require_whole(files)
    channels: dict[int, np.ndarray] = {}
    for path, socket in zip(files, sockets, strict=True):
        try:
            array = tifffile.imread(path) if is_tif(path) else sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
        except Exception as error:
            raise InputError(f"{path} cannot be read: {' '.join(str(error).split())[:300]}") from None
        planes = np.moveaxis(array, -1, 0) if len(socket.channels) > 1 else array[None]
        for channel, plane in zip(socket.channels, planes, strict=True):
            channels[channel] = np.asarray(plane, np.float32)
    image = np.stack([channels[channel] for channel in sorted(channels)])
    if image.ndim == 3:
        image = image[:, None]
    if not np.isfinite(image).all():
        raise InputError(f"{files[0]} or a channel beside it holds values that are no numbers (NaN or infinite)")
    if all(channel.min() == channel.max() for channel in image):
        raise InputError(f"{files[0]} has one value, {image.flat[0]:g}, at every voxel: there is nothing to segment")
    return image, {"spacing": spacing(headers[0], reader)}


def reader_of(plans: Plans) -> str:
    """The reader of the training."""
    name = type(plans.reader()).__name__
    measured = any(mm != 1 for mm in plans.said.original_median_spacing_after_transp or ())
    return MEASURED_STACKS if name == STACKS and measured else name


def spacing(header: Header, reader: str) -> list[float]:
    """The spacing z, y, x as the training's reader gives it: photographs have none, and a single slice is 999 times
    as thick."""
    if reader == MEASURED_STACKS and header.spacing is None:
        raise InputError(
            "the model was trained on stacks of which the size of voxels was known, and a .tif does not tell it: give "
            "the image as .mha or .nii.gz"
        )
    if reader == PHOTOGRAPHS:
        return [999.0, 1.0, 1.0]
    if reader == STACKS:
        return [1.0, 1.0, 1.0]
    known = header.spacing or (1.0,) * len(header.size)
    if len(known) == 2:
        return [max(known) * 999, *known[::-1]]
    return [abs(value) for value in known[::-1]]


def write_segmentation(segmentation: np.ndarray, reference: Path, header: Header, target: Path, root: Path) -> None:
    """Writes the segmentation on the reference's grid, compressed. The file gets its name, below root, when it is
    whole."""
    values = segmentation.astype(np.uint8 if segmentation.max(initial=0) < 256 else np.uint16)
    if len(header.size) == 2:
        values = values[0]
    if values.shape != header.size[::-1]:
        raise RuntimeError(f"the segmentation is {values.shape}, and the image {header.size[::-1]}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with taken(root / target.name) as folder:  # not beside the target: all that lies there is the platform's
        whole = folder / target.name
        if is_tif(target):
            tifffile.imwrite(whole, values, compression="zlib", **_resolution(reference))
        else:
            image = sitk.GetImageFromArray(values)
            if header.spacing is not None:
                image.SetSpacing(header.spacing)
                image.SetOrigin(header.origin)
                image.SetDirection(header.direction)
            write_whole(lambda name: sitk.WriteImage(image, name, True), whole)
        os.replace(whole, target)


def _resolution(reference: Path) -> dict[str, Any]:
    """The size of a pixel, if the input is a .tif that says it."""
    if not is_tif(reference):
        return {}
    with tifffile.TiffFile(reference) as file:
        tags = file.pages.first.tags
        if "XResolution" not in tags or "YResolution" not in tags:
            return {}
        unit = tags["ResolutionUnit"].value if "ResolutionUnit" in tags else None
        return {"resolution": (tags["XResolution"].value, tags["YResolution"].value), "resolutionunit": unit}
