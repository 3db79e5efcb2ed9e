"""How a volume is turned to be drawn as radiologists look at it: the patient's left is on the right of the picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np

THICK = 1.5
"""A spacing so many times the smallest makes its axis the one that slices are cut along."""
ENDS = (("L", "R"), ("P", "A"), ("S", "I"))
"""Letters of the left, posterior and superior axes: those of what lies ahead and behind."""
SLANTED = 0.35
"""A cosine from which on a second letter tells that a direction is oblique: about 20 degrees."""
HANGING = {
    0: ((1, 1), (2, -1)),  # cut from left to right: back on the right, head up
    1: ((0, 1), (2, -1)),  # cut from front to back: left on the right, head up
    2: ((0, 1), (1, 1)),  # cut from foot to head: left on the right, front up
}
"""For the axis that slices are cut along: axis and sense of what goes to the right, and of what goes down."""
PLANES = ("sagittal", "coronal", "axial")


@dataclass(frozen=True)
class Display:
    """axes: of the array, that slices are cut along, that goes down, that goes right. letters: where directions are
    known, what lies at the left, right, upper and lower edge. aspect: height of a voxel over its width."""

    axes: tuple[int, int, int]
    flipped: tuple[bool, bool]
    letters: tuple[str, str, str, str] | None
    aspect: float
    plane: str

    @property
    def axis(self) -> int:
        return self.axes[0]

    def cut(self, volume: np.ndarray, number: int) -> np.ndarray:
        """The slice of that number as it is drawn."""
        return self.turn(np.take(volume, number, self.axis))

    def turn(self, plane: np.ndarray) -> np.ndarray:
        """What is left of the array's axes without the one that slices are cut along, as it is drawn."""
        if self.axes[1] > self.axes[2]:
            plane = plane.swapaxes(0, 1)
        return plane[:: -1 if self.flipped[0] else 1, :: -1 if self.flipped[1] else 1]

    def number(self, index: int, count: int) -> str:
        """A slice as viewers count it, from 1 along the file's own axis."""
        return f"{self.plane} slice {index + 1} of {count}".strip()


def display(shape: Sequence[int], spacing: Sequence[float], directions: np.ndarray | None) -> Display:
    """shape and spacing in the array's order of axes; directions as host.directions tells them, or None."""
    if directions is None:
        cut = _cut(shape, spacing, 0)
        down, right = (a for a in range(3) if a != cut)
        return Display((cut, down, right), (False, False), None, spacing[down] / spacing[right], "")
    anatomy = closest(directions)
    cut = _cut(shape, spacing, anatomy.index(2))
    (across, right_sense), (along, down_sense) = HANGING[anatomy[cut]]
    right, down = anatomy.index(across), anatomy.index(along)
    flip_right = bool(directions[right, across] * right_sense < 0)
    flip_down = bool(directions[down, along] * down_sense < 0)
    rightwards = -directions[right] if flip_right else directions[right]
    downwards = -directions[down] if flip_down else directions[down]
    letters = (lettered(-rightwards), lettered(rightwards), lettered(-downwards), lettered(downwards))
    return Display(
        (cut, down, right),
        (flip_down, flip_right),
        letters,
        spacing[down] / spacing[right],
        PLANES[anatomy[cut]],
    )


def closest(directions: np.ndarray) -> tuple[int, ...]:
    """For each axis of the array the anatomical axis (left, posterior, superior) it is nearest to, each taken once."""
    return max(permutations(range(3)), key=lambda order: sum(abs(directions[a, o]) for a, o in enumerate(order)))


def lettered(direction: np.ndarray) -> str:
    """What lies that way: one letter, or, where it is oblique, up to three, the nearest first."""
    order = np.argsort(-np.abs(direction), kind="stable")
    named = [int(a) for i, a in enumerate(order) if i == 0 or abs(direction[a]) >= SLANTED]
    return "".join(ENDS[a][0 if direction[a] > 0 else 1] for a in named)


def _cut(shape: Sequence[int], spacing: Sequence[float], otherwise: int) -> int:
    """The axis of a single slice, or the thick one if slices are thick, else the one given."""
    if 1 in shape:
        return list(shape).index(1)
    thick = int(np.argmax(spacing))
    return thick if spacing[thick] > THICK * min(spacing) else otherwise
