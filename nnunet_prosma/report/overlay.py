"""Labels and regions painted over an image, in colours that a legend names."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from nnunet_prosma.host.labels import LabelKey, parts_of
from nnunet_prosma.report.drawing import shorten

STRENGTH = 0.55
LEGEND = 12
"""Labels that a legend names."""
HATCH = "////"
IGNORED = "#f0e442"


def colours(keys: Sequence[LabelKey]) -> dict[LabelKey, tuple[float, float, float]]:
    tab = matplotlib.colormaps["tab10" if len(keys) <= 10 else "tab20"]
    shades = (tab(i % tab.N) for i in range(len(keys)))
    return {key: (red, green, blue) for key, (red, green, blue, _) in zip(keys, shades, strict=True)}


def layers(keys: Sequence[LabelKey]) -> list[LabelKey]:
    """Regions of many labels below those of few, so that a core is seen in the whole that it is part of."""
    return sorted(keys, key=lambda key: -len(parts_of(key)))


def painted(grey: np.ndarray, mask: np.ndarray, keys: Sequence[LabelKey]) -> np.ndarray:
    """grey (h, w) or colours (h, w, 3), from 0 to 1; mask (h, w) of the codes that files hold -> (h, w, 3)."""
    picture = np.array(grey if grey.ndim == 3 else np.repeat(grey[..., None], 3, -1), dtype=float)
    paint = np.zeros(picture.shape)
    any_paint = np.zeros(mask.shape, bool)
    found = colours(keys)
    for key in layers(keys):
        where = np.isin(mask, parts_of(key))
        paint[where] = found[key]
        any_paint |= where
    picture[any_paint] = (1 - STRENGTH) * picture[any_paint] + STRENGTH * paint[any_paint]
    return picture


def hatch(axes: Axes, ignored: np.ndarray) -> None:
    """Hatches what is ignored, on an axes that shows an image of that size."""
    if ignored.any():
        padded = np.pad(ignored.astype(float), 1)  # a contour at the image's edge is closed too
        rows, columns = (np.arange(-1, n + 1) for n in ignored.shape)
        limits = axes.axis()
        drawn = axes.contourf(columns, rows, padded, levels=[0.5, 1.5], colors="none", hatches=[HATCH])
        drawn.set(edgecolor=IGNORED, linewidth=0)
        axes.axis(limits)


def legend_entries(present: Sequence[LabelKey], keys: Mapping[LabelKey, str], ignored: bool) -> list[Patch]:
    found = colours(list(keys))
    entries = [Patch(color=found[key], alpha=0.8, label=shorten(keys[key])) for key in present[:LEGEND]]
    if ignored:
        entries.append(Patch(facecolor="#555555", edgecolor=IGNORED, hatch=HATCH, linewidth=0, label="ignored"))
    return entries


def edge_letters(axes: Axes, letters: Sequence[str] | None, size: float = 7.5) -> None:
    """What lies to the left, right, top and bottom of a picture."""
    places = ((0.02, 0.5, "left", "center"), (0.98, 0.5, "right", "center"), (0.5, 0.98, "center", "top"))
    for text, (x, y, ha, va) in zip(letters or (), (*places, (0.5, 0.02, "center", "bottom")), strict=False):
        drawn = axes.text(x, y, text, ha=ha, va=va, transform=axes.transAxes, color="white", size=size)
        drawn.set_path_effects([withStroke(linewidth=1.6, foreground="black")])
