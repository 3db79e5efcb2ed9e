"""One figure a case: the image with what is segmented, how open each gate is there, and for which channels."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from nnunet_prosma.drawing import INK, MUTED, STYLE, shorten
from nnunet_prosma.inspect.measure import GateRow
from nnunet_prosma.inspect.slices import View

WIDTH = 2.15
"""Of a panel, in inches."""
OPENNESS = matplotlib.colormaps["PuOr_r"]
"""Purple is closed, orange is open, and white is 0.5, which is what a gate says that knows nothing."""
DPI = 110


def render(
    title: str,
    view: View,
    image: Sequence[np.ndarray],
    grey: tuple[float, float],
    masks: Mapping[str, Sequence[np.ndarray]],
    psi: Mapping[int, Sequence[np.ndarray]],
    rows: Sequence[GateRow],
) -> bytes:
    """image, masks (prediction, truth) and psi (by gate) are cut to the view; grey: what is black and what is white."""
    across = 1 + len(rows)
    down = len(view.shown)
    with_channels = any(row.channels for row in rows)
    height, width = image[0].shape[:2]
    panel = min(3.4, max(0.8, WIDTH * view.aspect * height / width))
    size = (WIDTH * across + 0.5, (panel + 0.28) * down + (1.75 if with_channels else 0) + 1.65)
    with matplotlib.style.context(["default", STYLE]):
        page = Figure(figsize=size, layout="constrained")
        ratios = [panel] * down + ([1.3] if with_channels else [])
        grid = page.subplots(len(ratios), across, squeeze=False, height_ratios=ratios)
        for line, (number, reason) in enumerate(view.shown.items()):
            first = grid[line, 0]
            first.imshow(image[line], cmap="gray", vmin=grey[0], vmax=grey[1], aspect=view.aspect)
            if reason:
                first.set_ylabel(f"slice {number + 1}\n{reason}", fontsize=8)
            cuts = {name: slices[line] for name, slices in masks.items()}
            for column, row in enumerate(rows, start=1):
                axes = grid[line, column]
                if row.gate in psi:
                    values = psi[row.gate][line]
                    axes.imshow(values, cmap=OPENNESS, vmin=0, vmax=1, aspect=view.aspect, interpolation="nearest")
                    low, high = np.quantile(values, (0.05, 0.95))
                    axes.set_xlabel(f"psi {low:.2f} to {high:.2f}", fontsize=7.5, labelpad=2)
                else:
                    axes.text(0.5, 0.5, "no spatial gate", ha="center", va="center", transform=axes.transAxes)
            for axes in grid[line]:
                axes.set(xticks=[], yticks=[])
                axes.spines[:].set_visible(False)
                if axes.images:
                    _outlines(axes, cuts)
        grid[0, 0].set_title("image\n\n", loc="left")
        for axes, row in zip(grid[0, 1:], rows, strict=True):
            axes.set_title(_heading(row), loc="left", fontsize=8)
        if with_channels:
            for axes, row in zip(grid[-1, 1:], rows, strict=True):
                _channels(axes, row)
            _explain(grid[-1, 0])
        page.suptitle(shorten(title, 110), x=0.01, ha="left", fontsize=10.5, weight="bold")
        if psi:
            bar = page.colorbar(ScalarMappable(cmap=OPENNESS), ax=list(grid[:down, -1]), fraction=0.08, aspect=14)
            bar.set_ticks([0, 0.5, 1], labels=["0 closed", "0.5", "1 open"], fontsize=7.5)
            bar.outline.set_visible(False)
        handles: list[Any] = [_line(name) for name in masks]
        page.legend(handles, list(masks), loc="outside lower left", ncols=2, frameon=False)
        file = io.BytesIO()
        page.savefig(file, format="png", dpi=DPI)
    return file.getvalue()


def _heading(row: GateRow) -> str:
    lines = [f"{row.name}, stride {row.stride}"]
    places = [row.psi.get(f"prediction_{place}") for place in ("inside", "rim", "outside")]
    if any(value is not None for value in places):
        lines.append("psi in {} rim {} out {}".format(*(_number(value) for value in places)))
    elif row.psi.get("all") is not None:
        lines.append(f"psi {_number(row.psi['all'])}")
    if row.zeros is not None:
        lines.append(f"{100 * row.zeros:.0f} % of z are zero")
    return "\n".join(lines)


def _outlines(axes: Axes, cuts: Mapping[str, np.ndarray]) -> None:
    for name, mask in cuts.items():
        for label in np.unique(mask[mask != 0]):
            shape = (mask == label).astype(float)
            if shape.min() == shape.max():
                continue
            lines = axes.contour(shape, [0.5], **STROKES[name])
            lines.set_path_effects([withStroke(linewidth=2.4, foreground="white")])


STROKES: dict[str, dict[str, Any]] = {
    "prediction": {"colors": "black", "linewidths": 1.0},
    "truth": {"colors": "#00862f", "linewidths": 1.0},
}
"""Each with a white halo, so that it is seen on dark and on bright."""


def _line(name: str) -> Line2D:
    stroke = STROKES[name]
    return Line2D([], [], color=stroke["colors"], lw=1.6)


def _channels(axes: Axes, row: GateRow) -> None:
    """A bar a channel from 0.5, sorted: how far it is opened or closed."""
    values = np.sort([channel.c for channel in row.channels])
    if not len(values):
        axes.set_visible(False)
        return
    axes.bar(np.arange(len(values)), values - 0.5, bottom=0.5, width=1, color=[OPENNESS(v) for v in values])
    axes.stairs(values, np.arange(len(values) + 1) - 0.5, baseline=None, color=INK, lw=0.7)
    axes.axhline(0.5, color=MUTED, lw=0.6)
    axes.set(ylim=(0, 1), xlim=(-0.5, len(values) - 0.5), xticks=[], yticks=[0, 0.5, 1])
    axes.tick_params(axis="y", labelsize=7)
    axes.set_xlabel(f"{len(values)} channels, sorted", fontsize=7.5)
    axes.set_title(f"c {values[0]:.2f} to {values[-1]:.2f}", loc="left", fontsize=8)


def _explain(axes: Axes) -> None:
    axes.axis("off")
    text = "Above, psi: where the\nskip is let through.\n\nRight, c: which of its\nchannels, however much."
    axes.text(0, 0.95, text, va="top", fontsize=7.5, transform=axes.transAxes)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
