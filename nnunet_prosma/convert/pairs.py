"""A picture and its masks, as files; and what is wrong with them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnunet_prosma.errors import InputError
from nnunet_prosma.host.images import read_picture

SHOWN = 10


@dataclass(frozen=True)
class Pair:
    """binary: a mask's array, (H, W) or with colours (H, W, 3), -> bool (H, W).

    masks: joined. Picture and masks are named whether they are there or not; reading tells what is missing.
    larger_masks: "error", or what becomes of a mask after the first that is larger than the picture.
    """

    case: str
    image: Path
    masks: tuple[Path, ...]
    binary: Callable[[NDArray], NDArray[np.bool_]]
    larger_masks: str = "error"

    def read(self) -> "tuple[NDArray[np.uint8], NDArray[np.uint8]]":
        """RGB (H, W, 3) and the joined mask (H, W) of 0 and 1; a problem is a ValueError that names the file."""
        if not self.image.is_file():
            raise ValueError(f"{self.image} is missing, but there is a mask for it")
        image = read_image(self.image)
        joined = np.zeros(image.shape[:2], bool)
        for number, path in enumerate(self.masks):
            if not path.is_file():
                raise ValueError(f"{path} is missing: every picture needs a mask")
            stored = read_mask(path)
            mask = self.binary(stored)
            if stored.any() and not mask.any():
                raise ValueError(
                    f"{path} holds numbers up to {stored.max()}, and none that marks anything: is it a mask of another "
                    f"kind?"
                )
            if mask.shape != joined.shape:
                larger = bool(np.all(np.greater_equal(mask.shape, joined.shape)))
                if number and larger and self.larger_masks == "leave-out":
                    continue
                if not (number and larger and self.larger_masks == "centre-crop"):
                    more = "; --other-size says what to do with such a mask" * (number > 0 and larger)
                    raise ValueError(f"{path} has {_size(mask)} pixels and its picture {_size(joined)}{more}")
                mask = centre(mask, joined.shape)
            joined |= mask
        return image, joined.astype(np.uint8)


def read_image(path: Path) -> NDArray[np.uint8]:
    """RGB."""
    return read_picture(path, "RGB")


def read_mask(path: Path) -> NDArray:
    """The mask as stored, but without transparency: (H, W) or with colours. A palette's numbers stay numbers."""
    array = read_picture(path, None)
    return array[..., :-1] if array.ndim == 3 and array.shape[-1] in (2, 4) else array


def centre(mask: NDArray, shape: Sequence[int]) -> NDArray:
    top, left = ((m - s) // 2 for m, s in zip(mask.shape, shape, strict=True))
    return mask[top : top + shape[0], left : left + shape[1]]


def above(threshold: int) -> Callable[[NDArray], NDArray[np.bool_]]:
    """A pixel counts where any of its colours is above the threshold; in masks of two values, where it is not 0."""

    def binary(mask: NDArray) -> NDArray[np.bool_]:
        brightest = mask.max(-1) if mask.ndim == 3 else mask
        return brightest if brightest.dtype == bool else brightest > threshold

    return binary


def refuse(problems: Sequence[str]) -> None:
    """Raises all problems together."""
    if problems:
        rest = [f"and {len(problems) - SHOWN} more"] * (len(problems) > SHOWN)
        raise InputError(
            f"nothing was written, since {len(problems)} of the pictures cannot be used:\n"
            + "\n".join(f"  {problem}" for problem in [*problems[:SHOWN], *rest])
            + "\nMend these files, or take the pictures out of the folder."
        )


def _size(array: NDArray) -> str:
    return f"{array.shape[1]}x{array.shape[0]}"
