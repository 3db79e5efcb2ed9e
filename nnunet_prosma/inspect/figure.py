"""One figure a case: the image with what is segmented, how open each gate is there, and for which channels."""

import io
from collections.abc import Mapping, Sequence

import matplotlib
import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from nnunet_prosma.inspect.measure import GateRow
from nnunet_prosma.inspect.slices import View
from nnunet_prosma.report.drawing import INK, MUTED, STYLE, shorten

WIDTH, ALONE, LEFT, GAP, BELOW, CHANNELS, FOOT = 2.0, 2.6, 0.5, 0.14, 0.3, 1.0, 0.55
"""In inches: a panel's width, that of a single slice's, the margin left of all, between panels, under each, and the
heights of what is further down."""
OPENNESS = matplotlib.colormaps["PuOr_r"]
"""Purple is closed, orange is open, and white is 0.5, which is what a gate says that knows nothing."""
STROKES = {"prediction": "black", "truth": "#00862f"}
"""Each with a white halo, so that it is seen on dark and on bright."""
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
    tall, wide = image[0].shape[:2]
    width = WIDTH if len(view.shown) > 1 else ALONE
    height = min(3.2, width * view.aspect * tall / wide)
    width = max(1.6, height * wide / tall / view.aspect)
    headings = [_heading(row) for row in rows]
    head = 0.5 + 0.15 * max(heading.count("\n") + 1 for heading in headings)
    channels = CHANNELS + 0.45 if any(row.channels for row in rows) else 0
    inches = (
        LEFT + (width + GAP) * (1 + len(rows)),
        head + (height + BELOW) * len(view.shown) + channels + FOOT,
    )
    inches = (max(inches[0], 4.6), inches[1])
    with matplotlib.style.context(["default", STYLE]):
        page = Figure(figsize=inches)

        def panel(column: int, top: float, tall: float) -> Axes:
            """An axes whose upper edge is so many inches from the figure's."""
            place = (LEFT + column * (width + GAP), inches[1] - top - tall, width, tall)
            return page.add_axes((place[0] / inches[0], place[1] / inches[1], width / inches[0], tall / inches[1]))

        for line, (number, reason) in enumerate(view.shown.items()):
            top = head + line * (height + BELOW)
            cuts = {name: slices[line] for name, slices in masks.items()}
            axes = panel(0, top, height)
            axes.imshow(image[line], cmap="gray", vmin=grey[0], vmax=grey[1], aspect=view.aspect)
            _bare(axes, cuts)
            if reason:
                axes.set_ylabel(f"slice {number + 1}\n{reason}", fontsize=8)
            if not line:
                axes.set_title("image", loc="left", fontsize=8)
            for column, row in enumerate(rows, start=1):
                axes = panel(column, top, height)
                if row.gate in psi:
                    values = psi[row.gate][line]
                    axes.imshow(values, cmap=OPENNESS, vmin=0, vmax=1, aspect=view.aspect, interpolation="nearest")
                    low, high = np.quantile(values, (0.05, 0.95))
                    axes.set_xlabel(f"psi {low:.2f} to {high:.2f}", fontsize=7.5, labelpad=3)
                else:
                    axes.text(0.5, 0.5, "no spatial gate", ha="center", va="center", transform=axes.transAxes)
                _bare(axes, cuts)
                if not line:
                    axes.set_title(headings[column - 1], loc="left", fontsize=8)
        if channels:
            top = head + (height + BELOW) * len(view.shown) + 0.2
            for column, row in enumerate(rows, start=1):
                _channels(panel(column, top, CHANNELS), row, with_scale=column == 1)
            about = f"{WHERE}\n\n{WHAT}" if psi else WHAT
            page.text(LEFT / inches[0], 1 - top / inches[1], about, va="top", fontsize=7.5)
        page.text(0.12 / inches[0], 1 - 0.1 / inches[1], shorten(title, 90), va="top", fontsize=10.5, weight="bold")
        lines = [Line2D([], [], color=STROKES[name], lw=1.6) for name in masks]
        page.legend(lines, list(masks), loc="lower left", ncols=2, frameon=False)
        if psi:
            _scale(page, inches)
        file = io.BytesIO()
        page.savefig(file, format="png", dpi=DPI)
    return file.getvalue()


WHERE = "Above, psi: where the\nskip is let through."
WHAT = "Right, c: which of its\nchannels, everywhere."


def _scale(page: Figure, inches: tuple[float, float]) -> None:
    axes = page.add_axes((1 - 1.75 / inches[0], 0.3 / inches[1], 1.5 / inches[0], 0.11 / inches[1]))
    bar = page.colorbar(ScalarMappable(cmap=OPENNESS), cax=axes, orientation="horizontal")
    bar.set_ticks([0, 0.5, 1], labels=["0 closed", "0.5", "1 open"], fontsize=7.5)
    axes.tick_params(length=2, pad=1)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _bare(axes: Axes, cuts: Mapping[str, np.ndarray]) -> None:
    """No ticks and no frame; what is segmented is outlined, label by label."""
    axes.set(xticks=[], yticks=[], anchor="NW")
    for spine in axes.spines.values():
        spine.set_visible(False)
    for name, mask in cuts.items():
        for label in np.unique(mask[mask != 0]) if axes.images else ():
            shape = (mask == label).astype(float)
            if shape.min() < shape.max():
                lines = axes.contour(shape, [0.5], colors=STROKES[name], linewidths=1.0)
                lines.set_path_effects([withStroke(linewidth=2.4, foreground="white")])


def _heading(row: GateRow) -> str:
    lines = [f"{row.name}, stride {row.stride}"]
    places = [row.psi.get(f"prediction_{place}") for place in ("inside", "rim", "outside")]
    if places[1] is not None:
        lines.append("psi in {} rim {} out {}".format(*(_number(value) for value in places)))
    elif row.psi.get("all") is not None:
        lines.append(f"psi {_number(row.psi['all'])} on the whole")
    if row.zeros is not None:
        lines.append(f"{100 * row.zeros:.0f} % of z are zero")
    return "\n".join(lines)


def _channels(axes: Axes, row: GateRow, *, with_scale: bool) -> None:
    """A bar a channel from 0.5, sorted: how far it is opened or closed."""
    values = np.sort([channel.c for channel in row.channels])
    if not len(values):
        axes.set_visible(False)
        return
    axes.bar(np.arange(len(values)), values - 0.5, bottom=0.5, width=1, color=[OPENNESS(v) for v in values])
    axes.stairs(values, np.arange(len(values) + 1) - 0.5, baseline=None, color=INK, lw=0.7)
    axes.axhline(0.5, color=MUTED, lw=0.6)
    axes.set(ylim=(0, 1), xlim=(-0.5, len(values) - 0.5), xticks=[], yticks=[0, 0.5, 1])
    axes.tick_params(axis="y", labelsize=7, labelleft=with_scale)
    axes.set_xlabel(f"{len(values)} channels, sorted", fontsize=7.5)
    axes.set_title(f"c {values[0]:.2f} to {values[-1]:.2f}", loc="left", fontsize=8)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
