"""Which slices of a case are shown, and which part of them."""

from dataclasses import dataclass

import numpy as np

from nnunet_prosma.report.orientation import Display, display

MARGIN = 0.5
"""Share of the size of what is segmented, on each side of it."""


@dataclass(frozen=True)
class View:
    """display: how slices are turned; shown: their numbers, and why each was chosen; window: what is cut out of them,
    once they are turned."""

    display: Display
    shown: dict[int, str]
    window: tuple[slice, slice]
    count: int

    @property
    def axis(self) -> int:
        return self.display.axis

    @property
    def aspect(self) -> float:
        return self.display.aspect

    def of(self, volume: np.ndarray) -> list[np.ndarray]:
        return [self.display.cut(volume, number)[self.window].copy() for number in self.shown]


def choose(
    prediction: np.ndarray,
    truth: np.ndarray | None,
    counted: np.ndarray,
    spacing: tuple[float, ...],
    directions: np.ndarray | None = None,
) -> View:
    """Up to three: where most is segmented, where prediction and truth differ most, and towards both ends."""
    turned = display(prediction.shape, spacing, directions)
    axis, count = turned.axis, prediction.shape[turned.axis]
    others = tuple(a for a in range(3) if a != axis)
    segmented = (prediction != 0 if truth is None else (prediction != 0) | (truth != 0)) & counted
    window = frame(turned.turn(np.asarray(segmented.any(axis))), turned.turn(np.asarray(counted.any(axis))))
    area = segmented.sum(others)
    if count == 1:
        return View(turned, {0: ""}, window, count)
    if not area.any():
        middle = int(np.flatnonzero(counted.any(others)).mean())
        return View(turned, {middle: "the middle: nothing is segmented"}, window, count)
    reasons = {int(area.argmax()): "most segmented"}
    if truth is not None and (wrong := ((prediction != truth) & counted).sum(others)).any():
        reasons.setdefault(int(wrong.argmax()), "most error")
    full = np.flatnonzero(area)
    for share, reason in ((0.15, "towards one end"), (0.85, "towards the other")):
        number = int(full[round(share * (len(full) - 1))])
        if len(reasons) < 3 and all(abs(number - other) > 1 for other in reasons):
            reasons[number] = reason
    return View(turned, dict(sorted(reasons.items())), window, count)


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
