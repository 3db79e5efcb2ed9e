"""One figure a case: the image, what is segmented, how open the gates are there, and for which channels."""

import io
from collections.abc import Mapping, Sequence

import matplotlib
import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from nnunet_prosma.inspect.measure import GateRow
from nnunet_prosma.inspect.slices import View
from nnunet_prosma.report.drawing import INK, MUTED, STYLE, shorten
from nnunet_prosma.report.overlay import STRENGTH, edge_letters

WIDTH, LEFT, GAP, BELOW, CHANNELS, FOOT = 2.6, 0.55, 0.16, 0.34, 1.1, 0.62
"""Sizes in inches: a panel's width, the margin left of all, between panels, under each, and the heights further
down."""
LARGE = 3
"""Gates that are shown: those that differ most between what is segmented and what is not."""
OPENNESS = matplotlib.colormaps["PuOr_r"]
"""Purple is closed, orange is open, and white is 0.5, which is what a gate says that knows nothing."""
RIGHT, MISSED, WRONG = "#009e73", "#56b4e9", "#d55e00"
STROKES = {"prediction": "black", "truth": "#00862f"}
DPI = 110


def render(
    title: str,
    view: View,
    image: Sequence[np.ndarray],
    masks: Mapping[str, Sequence[np.ndarray]],
    psi: Mapping[int, Sequence[np.ndarray]],
    rows: Sequence[GateRow],
    outlines: bool = False,
) -> bytes:
    """image (greys or colours from 0 to 1), masks (prediction, truth) and psi (by gate) are cut to the view."""
    large = most_different(rows)
    tall, wide = image[0].shape[:2]
    height = min(3.6, WIDTH * view.aspect * tall / wide)
    width = max(1.9, height * wide / tall / view.aspect)
    headings = [_heading(row) for row in large]
    head = 0.55 + 0.18 * max(heading.count("\n") + 1 for heading in headings)
    channels = CHANNELS + 0.5 if any(row.channels for row in large) else 0
    inches = (
        max(LEFT + (width + GAP) * (2 + len(large)), 6.0),
        head + (height + BELOW) * len(view.shown) + channels + FOOT,
    )
    with matplotlib.style.context(["default", STYLE]):
        page = Figure(figsize=inches)

        def panel(column: int, top: float, tall: float) -> Axes:
            """An axes whose upper edge is so many inches from the figure's."""
            place = (LEFT + column * (width + GAP), inches[1] - top - tall, width, tall)
            return page.add_axes((place[0] / inches[0], place[1] / inches[1], width / inches[0], tall / inches[1]))

        for line, (number, reason) in enumerate(view.shown.items()):
            top = head + line * (height + BELOW)
            cuts = {name: slices[line] for name, slices in masks.items()}
            for column, text in enumerate(("image", "prediction and truth" if "truth" in masks else "prediction")):
                axes = panel(column, top, height)
                shown = image[line] if not column else judged(image[line], cuts["prediction"], cuts.get("truth"))
                axes.imshow(shown, cmap="gray", vmin=0, vmax=1, aspect=view.aspect, interpolation="nearest")
                _bare(axes)
                edge_letters(axes, view.display.letters)
                if not line:
                    axes.set_title(text, loc="left", fontsize=9.5)
                if not column and reason:
                    axes.set_ylabel(f"{view.display.number(number, view.count)}\n{reason}", fontsize=8.5)
            for column, row in enumerate(large):
                axes = panel(2 + column, top, height)
                if row.gate in psi:
                    values = psi[row.gate][line]
                    axes.imshow(values, cmap=OPENNESS, vmin=0, vmax=1, aspect=view.aspect, interpolation="nearest")
                    low, high = np.quantile(values, (0.05, 0.95))
                    axes.set_xlabel(f"psi {low:.2f} to {high:.2f} here", fontsize=8.5, labelpad=3)
                else:
                    axes.text(0.5, 0.5, "no spatial gate", ha="center", va="center", transform=axes.transAxes)
                _bare(axes)
                if outlines and axes.images:
                    _outline(axes, cuts)
                if not line:
                    axes.set_title(headings[column], loc="left", fontsize=9.5)
        if channels:
            top = head + (height + BELOW) * len(view.shown) + 0.24
            for column, row in enumerate(large):
                _channels(panel(2 + column, top, CHANNELS), row, with_scale=not column)
            about = [WHERE, WHAT] if psi else [WHAT]
            page.text(LEFT / inches[0], 1 - top / inches[1], "\n".join(about), va="top", fontsize=8.5)
        page.text(0.12 / inches[0], 1 - 0.1 / inches[1], shorten(title, 90), va="top", fontsize=11, weight="bold")
        if others := [row for row in rows if row not in large]:
            page.text(LEFT / inches[0], 0.36 / inches[1], _others(others, 17 * inches[0]), va="bottom", fontsize=8.5)
        page.legend(handles=_legend("truth" in masks, outlines), loc="lower left", ncols=5, frameon=False)
        if psi:
            _scale(page, inches)
        file = io.BytesIO()
        page.savefig(file, format="png", dpi=DPI)
    return file.getvalue()


WHERE = "Above, psi: where the skip is let through."
WHAT = "Right, c: which of its channels, everywhere."


def most_different(rows: Sequence[GateRow], count: int = LARGE) -> list[GateRow]:
    """The gates, from the coarsest to the finest, whose psi differs most between what is segmented and what is not."""

    def contrast(row: GateRow) -> float:
        inside, rim, outside = (row.psi.get(f"prediction_{place}") for place in ("inside", "rim", "outside"))
        known = [value for value in (inside, rim) if value is not None]
        return max(abs(value - outside) for value in known) if known and outside is not None else 0.0

    chosen = sorted(rows, key=lambda row: -contrast(row))[:count]
    return [row for row in rows if row in chosen]


def judged(picture: np.ndarray, prediction: np.ndarray, truth: np.ndarray | None) -> np.ndarray:
    """The picture with what is right, missed, and wrongly segmented; without a truth, with what is segmented."""
    shown = np.array(picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, -1), dtype=float)
    if truth is None:
        parts = {RIGHT: prediction != 0}
    else:
        parts = {
            RIGHT: (prediction != 0) & (prediction == truth),
            MISSED: (truth != 0) & (prediction == 0),
            WRONG: (prediction != 0) & (prediction != truth),
        }
    for colour, where in parts.items():
        shown[where] = (1 - STRENGTH) * shown[where] + STRENGTH * np.array(matplotlib.colors.to_rgb(colour))
    return shown


def _legend(truth: bool, outlines: bool) -> list[Patch | Line2D]:
    parts = {"right": RIGHT, "missed": MISSED, "wrong": WRONG} if truth else {"predicted": RIGHT}
    entries: list[Patch | Line2D] = [Patch(color=colour, alpha=0.8, label=name) for name, colour in parts.items()]
    if outlines:
        names = STROKES if truth else ["prediction"]
        entries += [Line2D([], [], color=STROKES[name], lw=0.8, label=name) for name in names]
    return entries


def _others(rows: Sequence[GateRow], length: float) -> str:
    told = [f"{row.name} {_number(row.psi.get('all'))}" for row in rows]
    return shorten(f"Not drawn, as they differ less; mean psi: {', '.join(told)}", int(length))


def _scale(page: Figure, inches: tuple[float, float]) -> None:
    axes = page.add_axes((1 - 1.75 / inches[0], 0.3 / inches[1], 1.5 / inches[0], 0.11 / inches[1]))
    bar = page.colorbar(ScalarMappable(cmap=OPENNESS), cax=axes, orientation="horizontal")
    bar.set_ticks([0, 0.5, 1], labels=["0 closed", "0.5", "1 open"], fontsize=8)
    axes.tick_params(length=2, pad=1)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _bare(axes: Axes) -> None:
    axes.set(xticks=[], yticks=[], anchor="NW")
    for spine in axes.spines.values():
        spine.set_visible(False)


def _outline(axes: Axes, cuts: Mapping[str, np.ndarray]) -> None:
    """What is segmented, label by label, as thin lines."""
    for name, mask in cuts.items():
        for label in np.unique(mask[mask != 0]):
            shape = (mask == label).astype(float)
            if shape.min() < shape.max():
                axes.contour(shape, [0.5], colors=STROKES[name], linewidths=0.5)


def _heading(row: GateRow) -> str:
    lines = [f"{row.name}, stride {row.stride}"]
    places = [row.psi.get(f"prediction_{place}") for place in ("inside", "rim", "outside")]
    if places[1] is not None:
        lines.append("psi in {} rim {} out {}".format(*(_number(value) for value in places)))
    elif row.psi.get("all") is not None:
        lines.append(f"psi {_number(row.psi['all'])} on the whole")
    if row.zeros is not None:
        lines.append(f"zeros in z: {100 * row.zeros:.1f} %")
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
    axes.tick_params(axis="y", labelsize=8, labelleft=with_scale)
    axes.set_xlabel(f"{len(values)} channels, sorted", fontsize=8.5)
    axes.set_title(f"c {values[0]:.2f} to {values[-1]:.2f}", loc="left", fontsize=8.5)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
