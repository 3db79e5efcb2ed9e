"""A phantom with an organ, a lesion in it, and clutter that only its surroundings tell from them; as a data set too.

Lesion and decoy blobs have one intensity, and so have organ and tubes: what is a lesion is decided by the organ around.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnunet_prosma.files import folder_made_whole
from nnunet_prosma.host.images import write_whole

Array = NDArray[np.floating]

LABELS = {"background": 0, "organ": 1, "lesion": 2}
ORGAN_INTENSITY, LESION_INTENSITY = 1.0, 1.8
"""Means in the first channel, before bias field and noise; the background's is 0."""
SMALLEST_SIZE = 16
SPACING_MM = (1.31, 0.93, 1.07)
ORIGIN_MM = (-31.7, 12.4, 55.3)


def phantom(
    seed: int,
    size: int | Sequence[int] = 32,
    *,
    channels: int = 1,
    decoys: int = 8,
    tubes: int = 4,
    bias: float = 0.2,
    noise: float = 0.25,
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """The image (channels, *size) and the labels (*size) of one case; one seed, one phantom.

    size: voxels along each of two or three axes, each at least 16; a single number means a cube.
    channels: the first has the contrast above, each further one less, with noise and bias of its own.
    decoys, tubes: number of blobs that look like the lesion and of tubes that look like the organ, all unlabelled.
    bias: standard deviation of the logarithm of the smooth field that multiplies the intensities.
    noise: standard deviation of the white noise, in units of the organ's intensity.
    """
    shape = (size,) * 3 if isinstance(size, int) else tuple(size)
    if len(shape) not in (2, 3) or min(shape) < SMALLEST_SIZE:
        raise ValueError(
            f"size must name two or three axes of at least {SMALLEST_SIZE} voxels each, got {size!r}; "
            f"a smaller phantom would lose its lesion"
        )
    if channels < 1:
        raise ValueError(f"channels must be at least 1, got {channels}")
    rng = np.random.default_rng(seed)
    x = np.stack(np.meshgrid(*[np.arange(1, 2 * n, 2) / n - 1 for n in shape], indexing="ij"))  # (axes, *size), -1..1
    edge = 2 / min(shape)  # a voxel, over which one tissue passes into the next

    centre, radii = rng.uniform(-0.15, 0.15, len(shape)), rng.uniform(0.45, 0.6, len(shape))
    y = (x - _column(centre, x)) / _column(radii, x)  # the organ is about the unit ball of y
    organ = np.linalg.norm(y, axis=0) + 0.08 * _waves(rng, x, 2.0)
    lesion = _distance(y, 0.4 * _direction(rng, len(shape))) / rng.uniform(0.35, 0.5)
    inside, lesion_inside = _soft(organ, edge / radii.mean()), _soft(lesion, edge / (0.4 * radii.mean()))
    tissue = inside * (ORGAN_INTENSITY + (LESION_INTENSITY - ORGAN_INTENSITY) * lesion_inside)

    places = np.argwhere(organ > 1.4)  # never empty: the corners belong to it
    outside = 1 - _soft(organ - 0.15, edge / radii.mean())  # clutter keeps away from the organ
    for _ in range(tubes):
        distance = _distance_to_line(x, _at(x, rng.choice(places)), _direction(rng, len(shape)))
        radius = rng.uniform(0.09, 0.14)
        shown = outside * _soft((distance + 0.04 * _waves(rng, x, 2.0)) / radius, edge / radius)
        tissue = np.maximum(tissue, ORGAN_INTENSITY * shown)
    for _ in range(decoys):
        radius = rng.uniform(0.16, 0.24)
        shown = outside * _soft(_distance(x, _at(x, rng.choice(places))) / radius, edge / radius)
        tissue = np.maximum(tissue, LESION_INTENSITY * shown)

    image = np.empty((channels, *shape), np.float32)
    for channel in range(channels):
        contrast = tissue ** (1 / (1 + channel)) + 0.1 * _waves(rng, x, 6.0)
        image[channel] = contrast * np.exp(bias * _waves(rng, x, 0.7)) + noise * rng.standard_normal(shape)
    labels = np.where(organ < 1, np.where(lesion < 1, LABELS["lesion"], LABELS["organ"]), LABELS["background"])
    return image, labels.astype(np.uint8)


def write_dataset(
    raw: Path,
    *,
    train: Iterable[int] = range(10),
    test: Iterable[int] = range(100, 104),
    dataset: str = "Dataset901_Phantom",
    size: int | Sequence[int] = 32,
    channels: int = 1,
    spacing_mm: Sequence[float] = SPACING_MM,
) -> Path:
    """Writes raw/dataset as nnU-Net reads it, and returns that folder; train and test hold seeds, the case numbers.

    spacing_mm: by axis of the array, the first of them for the first axes of size. The labels of the test cases go
    to labelsTs, which nnU-Net does not look at. The folder appears once it is complete, and is never overwritten.
    """
    folder = Path(raw, dataset)
    if folder.exists():
        raise FileExistsError(f"{folder} exists; remove it, or name another data set")
    with folder_made_whole(folder) as partial:
        _fill(partial, list(train), list(test), size, channels, spacing_mm)
    return folder


def _fill(
    partial: Path,
    train: Sequence[int],
    test: Sequence[int],
    size: int | Sequence[int],
    channels: int,
    spacing_mm: Sequence[float],
) -> None:
    for suffix, seeds in (("Tr", train), ("Ts", test)):
        images, labels = partial / f"images{suffix}", partial / f"labels{suffix}"
        images.mkdir(parents=True)
        labels.mkdir()
        for seed in seeds:
            image, truth = phantom(seed, size, channels=channels)
            for channel in range(channels):
                _write(images / f"{case(seed)}_{channel:04d}.nii.gz", image[channel], spacing_mm)
            _write(labels / f"{case(seed)}.nii.gz", truth, spacing_mm)
    description = {
        "channel_names": {str(channel): f"phantom{channel}" for channel in range(channels)},
        "labels": LABELS,
        "numTraining": len(train),
        "file_ending": ".nii.gz",
        "overwrite_image_reader_writer": "SimpleITKIO",
    }
    Path(partial, "dataset.json").write_text(json.dumps(description, indent=2))


def case(seed: int) -> str:
    """The name of a case, to which nnU-Net adds channel and file ending."""
    return f"phantom_{seed:03d}"


def _column(values: Array, like: Array) -> Array:
    return values.reshape(-1, *[1] * (like.ndim - 1))


def _at(x: Array, index: NDArray[np.integer]) -> Array:
    everywhere = (slice(None), *index)
    return x[everywhere]


def _distance(x: Array, point: Array) -> Array:
    return np.linalg.norm(x - _column(point, x), axis=0)


def _distance_to_line(x: Array, point: Array, direction: Array) -> Array:
    offset, direction = x - _column(point, x), _column(direction, x)
    return np.linalg.norm(offset - (offset * direction).sum(0) * direction, axis=0)


def _direction(rng: np.random.Generator, axes: int) -> Array:
    """A unit vector, uniform on the sphere."""
    vector = rng.standard_normal(axes)
    return vector / np.linalg.norm(vector)


def _waves(rng: np.random.Generator, x: Array, frequency: float, count: int = 8) -> Array:
    """A smooth random field (*size) of mean 0 and variance 1 over the draws: plane waves of about that frequency."""
    waves = np.zeros(x.shape[1:])
    for _ in range(count):
        direction, phase = _direction(rng, len(x)), rng.uniform(0, 2 * np.pi)
        along = (x * _column(direction, x)).sum(0)
        waves += np.sqrt(2 / count) * np.cos(np.pi * frequency * rng.uniform(0.5, 1.5) * along + phase)
    return waves


def _soft(r: Array, edge: float) -> Array:
    """1 where r < 1, 0 where r > 1, linear over the width edge between them."""
    return np.clip((1 - r) / edge + 0.5, 0, 1)


def _write(path: Path, array: NDArray, spacing_mm: Sequence[float]) -> None:
    import SimpleITK

    image = SimpleITK.GetImageFromArray(array)
    image.SetSpacing(tuple(spacing_mm[: array.ndim])[::-1])  # SimpleITK counts the axes from the last
    image.SetOrigin(ORIGIN_MM[: array.ndim])
    write_whole(lambda name: SimpleITK.WriteImage(image, name), path)
