"""Which slices of a case are shown, and which part of them."""

from dataclasses import dataclass

import numpy as np

THICK = 1.5
"""A spacing so many times the smallest makes its axis the one that slices are counted along."""
MARGIN = 0.5
"""Of the size of what is segmented, on each side of it."""


@dataclass(frozen=True)
class View:
    """axis: along which the slices are; shown: their numbers, and why each was chosen; window: what is cut out."""

    axis: int
    shown: dict[int, str]
    window: tuple[slice, slice]
    aspect: float
    """Height of a voxel over its width."""

    def of(self, volume: np.ndarray) -> list[np.ndarray]:
        return [np.take(volume, number, self.axis)[self.window].copy() for number in self.shown]


def choose(prediction: np.ndarray, truth: np.ndarray | None, counted: np.ndarray, spacing: tuple[float, ...]) -> View:
    """Up to three: where most is segmented, where prediction and truth differ most, and towards both ends."""
    axis = slicing_axis(prediction.shape, spacing)
    others = tuple(a for a in range(3) if a != axis)
    segmented = prediction != 0 if truth is None else (prediction != 0) | (truth != 0)
    window = frame(np.asarray(segmented.any(axis)), np.asarray(counted.any(axis)))
    aspect = spacing[others[0]] / spacing[others[1]]
    area = segmented.sum(others)
    if prediction.shape[axis] == 1:
        return View(axis, {0: ""}, window, aspect)
    if not area.any():
        middle = int(np.flatnonzero(counted.any(others)).mean())
        return View(axis, {middle: "the middle: nothing is segmented"}, window, aspect)
    reasons = {int(area.argmax()): "most segmented"}
    if truth is not None and (wrong := ((prediction != truth) & counted).sum(others)).any():
        reasons.setdefault(int(wrong.argmax()), "most error")
    full = np.flatnonzero(area)
    for share, reason in ((0.15, "towards one end"), (0.85, "towards the other")):
        number = int(full[round(share * (len(full) - 1))])
        if len(reasons) < 3 and all(abs(number - other) > 1 for other in reasons):
            reasons[number] = reason
    return View(axis, dict(sorted(reasons.items())), window, aspect)


def slicing_axis(shape: tuple[int, ...], spacing: tuple[float, ...]) -> int:
    """The thick one, if slices are thick, else the first."""
    if 1 in shape:
        return shape.index(1)
    thick = int(np.argmax(spacing))
    return thick if spacing[thick] > THICK * min(spacing) else 0


def frame(segmented: np.ndarray, counted: np.ndarray) -> tuple[slice, slice]:
    """Around what is segmented, with a margin, at least a third of the image; inside of what is counted."""
    sides = []
    for a in (0, 1):
        box = np.flatnonzero(counted.any(1 - a))
        low, high = int(box[0]), int(box[-1]) + 1
        where = np.flatnonzero(segmented.any(1 - a))
        if not len(where):
            sides.append(slice(low, high))
            continue
        first, last = int(where[0]), int(where[-1]) + 1
        margin = max(MARGIN * (last - first), (high - low) / 3 - (last - first) / 2, 8)
        sides.append(slice(max(low, int(first - margin)), min(high, int(last + margin))))
    return sides[0], sides[1]
