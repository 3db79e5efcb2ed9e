"""What is black and what is white in the picture of an image."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

NAMES = {("r", "g", "b"), ("red", "green", "blue")}
BACKGROUND = 0.5
"""Share of the image's border that has one same value: then that value is the background, and black."""
DARKEST, BRIGHTEST = 0.5, 99.5
"""Percentiles of what is not background."""


def in_colour(names: Iterable[str], properties: Mapping[str, Any]) -> bool:
    """Whether channels are red, green and blue: by their names in dataset.json, or as in a PNG or TIFF."""
    named = tuple(name.lower() for name in names)
    medical = "sitk_stuff" in properties or "nibabel_stuff" in properties
    return len(named) in (3, 4) and (not medical or named[:3] in NAMES or set(named) == {"rgb_to_0_1"})


def shaded(images: np.ndarray, colour: bool) -> np.ndarray:
    """(channels, *S) -> (*S) of greys of the first channel, or (*S, 3) of colours, from 0 to 1."""
    if colour and len(images) >= 3:
        return np.moveaxis(images[:3], 0, -1) / max(255.0, float(images[:3].max()))
    return greys(images[0])


def greys(image: np.ndarray) -> np.ndarray:
    """Background black: 0 in a z-scored brain is neither the darkest value nor anything to be seen."""
    background = around(image)
    body = image if background is None else image[image != background]
    low, high = (float(v) for v in np.percentile(body, (DARKEST, BRIGHTEST))) if body.size else (0.0, 1.0)
    grey = ((image - low) / (high - low if high > low else 1)).clip(0, 1).astype(np.float32)
    if background is not None:
        grey[image == background] = 0
    return grey


def around(image: np.ndarray) -> float | None:
    """The one value that the image's border has, if most of it has one."""
    sides = [a for a in range(image.ndim) if image.shape[a] > 2]
    border = np.concatenate([image.take(end, a).ravel() for a in sides for end in (0, -1)] or [image.ravel()])
    values, counts = np.unique(border, return_counts=True)
    most = int(counts.argmax())
    return float(values[most]) if counts[most] >= BACKGROUND * border.size and (image != values[most]).any() else None
