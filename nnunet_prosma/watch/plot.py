"""gates.png: the record of a training's gates as curves, a colour for each gate; several trainings side by side."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from nnunet_prosma.files import write_bytes
from nnunet_prosma.report.drawing import INK, MUTED, PAPER, STYLE, shorten
from nnunet_prosma.watch.record import GateEpoch, Record, state

PANEL_WIDTH, PANEL_HEIGHT = 6.2, 1.75
DPI = 100
SMALLEST_SPAN = 0.04
"""Of an axis: after few epochs thresholds differ in the fifth digit, which is nothing to see."""
BY = "nnunet-prosma"
"""Written into the file, so that it is known from others of its name."""


@dataclass(frozen=True)
class Panel:
    """line: the column drawn; band: the two around it."""

    title: str
    line: str
    band: tuple[str, str] | None
    limits: tuple[float, float] | None


PANELS = (
    Panel("z: share of exact zeros", "zeros", None, (0, 1)),
    Panel("voxels without support", "unsupported", None, (0, 1)),
    Panel("threshold lam: median (line), min and max (dashed)", "lam_median", ("lam_min", "lam_max"), None),
    Panel("psi, where: mean (line), 5th and 95th percentile (dashed)", "psi_mean", ("psi_p05", "psi_p95"), (0, 1)),
    Panel("alpha: the share of a residual gate in its output", "alpha", None, None),
    Panel("c, what: mean (line), 5th and 95th percentile (dashed)", "c_mean", ("c_p05", "c_p95"), (0, 1)),
)


def draw_record(records: Mapping[str, Record], path: Path) -> None:
    """A column for each record, under its name; what no gate of them has is left out."""
    rows = [row for record in records.values() for row in record.rows]
    panels = [panel for panel in PANELS if any(panel.line in row.values for row in rows)]
    strides = {row.gate: row.stride for row in reversed(rows)}
    with matplotlib.style.context(["default", STYLE]):  # nnU-Net's own plot sets seaborn's style for good
        size = (PANEL_WIDTH * len(records) + 0.4, PANEL_HEIGHT * len(panels) + 1.1)
        page = Figure(figsize=size)
        grid = page.subplots(len(panels), len(records), sharex=True, sharey="row", squeeze=False)
        for column, (name, record) in enumerate(records.items()):
            for axes, panel in zip(grid[:, column], panels, strict=True):
                _curves(axes, panel, record, len(strides))
                if not column:
                    axes.set_title(panel.title, loc="left", pad=4)
            if len(records) > 1:
                grid[0, column].annotate(
                    shorten(name, 60), (1, 1.02), xycoords="axes fraction", ha="right", va="bottom", weight="bold"
                )
            grid[-1, column].set_xlabel("epoch")
            grid[-1, column].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        handles = [Line2D([], [], color=colour(i, len(strides)), lw=2.5) for i in range(len(strides))]
        texts = [f"gates.{gate}, stride {strides[gate]}" for gate in sorted(strides)]
        top = 1 - 0.62 / size[1] * (1 + (len(texts) - 1) // 3 * 0.45)
        page.subplots_adjust(left=0.65 / size[0], right=1 - 0.15 / size[0], bottom=0.5 / size[1], top=top, hspace=0.3)
        page.legend(handles, texts, loc="upper left", ncols=3, frameon=False, title=None)
        file = io.BytesIO()
        page.savefig(file, format="png", dpi=DPI, metadata={"Software": BY})
    write_bytes(path, file.getvalue())


def is_picture(path: Path) -> bool:
    """Whether draw_record drew it."""
    with path.open("rb") as file:
        return BY.encode() in file.read(512)


def colour(index: int, count: int) -> Any:
    """The colour of a gate: from the coarsest, dark, to the finest, bright."""
    return matplotlib.colormaps["viridis"](0.87 * index / max(1, count - 1))


def _curves(axes: Axes, panel: Panel, record: Record, count: int) -> None:
    for index, gate in enumerate(record.gates()):
        rows = [row for row in record.of(gate) if {panel.line, *(panel.band or ())} <= row.values.keys()]
        epochs = [row.epoch for row in rows]
        ink = colour(index, count)
        if panel.band:
            low, high = ([row.values[name] for row in rows] for name in panel.band)
            for edge in (low, high):
                axes.plot(epochs, edge, color=ink, lw=0.7, alpha=0.7, ls=(0, (4, 2)))
            axes.fill_between(epochs, low, high, color=ink, alpha=0.05, lw=0)
        marker = "o" if len(rows) == 1 else ""
        axes.plot(epochs, [row.values[panel.line] for row in rows], color=ink, lw=1.5, marker=marker)
        if panel.line == "zeros":
            _mark(axes, rows, ink)
    if panel.limits:
        axes.set_ylim(panel.limits[0] - 0.03, panel.limits[1] + 0.03)
    elif (short := SMALLEST_SPAN - abs(axes.get_ylim()[1] - axes.get_ylim()[0])) > 0:
        axes.set_ylim(axes.get_ylim()[0] - short / 2, axes.get_ylim()[1] + short / 2)
    axes.grid(axis="y", color=MUTED, alpha=0.3, lw=0.5)
    axes.locator_params(axis="y", nbins=4)


def _mark(axes: Axes, rows: Sequence[GateEpoch], ink: Any) -> None:
    """The last epoch of a gate that is dead or idle now."""
    if (now := state(rows)) and now != "NaN":  # which has no place in the picture
        last = rows[-1]
        axes.annotate(
            f"{last.name} {now}",
            (last.epoch, last.values["zeros"]),
            textcoords="offset points",
            xytext=(-4, -10 if now == "dead" else 6),
            ha="right",
            color=INK,
            bbox={"facecolor": PAPER, "edgecolor": ink, "pad": 1.5},
        )
