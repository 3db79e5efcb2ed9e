"""The plots of a comparison. Each is as wide as a phone, so that it is read there as it is; wide pages set them side
by side. What has a part for each label is cut into figures of four panels, however many labels there are."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nnunet_prosma.compare.analysis import Analysis
from nnunet_prosma.compare.extremes import slug
from nnunet_prosma.compare.paired import Row
from nnunet_prosma.compare.table import CaseTable, Metric
from nnunet_prosma.host.runs import Run
from nnunet_prosma.report.drawing import INK, MUTED, Plot, figure, shorten

COLOURS = ("#7f7f88", "#d55e00", "#0080c0", "#00a078", "#b76fb0", "#b09000")
BETTER, WORSE = "#0080c0", "#d55e00"
FEW = 60
"""Up to so many cases each is drawn for itself."""
ROWS_PER_FIGURE = 20


def plots(analysis: Analysis) -> Iterator[Plot]:
    table = analysis.table
    for metric in table.metrics:
        rows = [row for row in analysis.rows if row.metric is metric]
        yield from differences_by_label(rows, metric)
    for row in analysis.primaries:
        same = [r for r in analysis.rows if r.metric is row.metric and r.candidate == row.candidate]
        yield from panels("scatter", scatter, [r for r in same if r.label in table.labels], row)
        yield from panels("sorted", sorted_differences, same, row)
    for metric in table.metrics:
        yield from distributions(table, metric)
    yield from curves(analysis.loaded.runs, analysis.loaded.folds)


def panels(name: str, draw: Callable[[Axes, Row], None], rows: Sequence[Row], primary: Row) -> Iterator[Plot]:
    """Four panels a figure."""
    about = {
        "scatter": f"{primary.metric.title} of each case, {primary.baseline} across, {primary.candidate} up. Above the "
        f"line {primary.candidate} is {'better' if primary.metric.better > 0 else 'worse'}.",
        "sorted": f"Difference in {primary.metric.title} of each case, {primary.candidate} minus {primary.baseline}, "
        f"sorted.",
    }[name]
    rows = [row for row in rows if row.n]
    for start in range(0, len(rows), 4):
        part = rows[start : start + 4]
        across = 1 if len(part) == 1 else 2
        down = (len(part) + 1) // 2 if across == 2 else 1
        page = figure(2.05 * down + 0.2 if across == 2 else 3.6)
        for index, row in enumerate(part):
            draw(page.add_subplot(down, across, index + 1), row)
        title = f"{primary.candidate}: {', '.join(shorten(r.label) for r in part)}"
        yield Plot(f"{name}_{slug(primary.candidate)}_{start // 4 + 1}", title, about, page, name, start >= 12)


def scatter(axes: Axes, row: Row) -> None:
    a, b = row.values
    low, high = float(min(a.min(), b.min())), float(max(a.max(), b.max()))
    margin = 0.04 * (high - low or 0.1)
    axes.plot([low - margin, high + margin], [low - margin, high + margin], color=MUTED, lw=0.8, zorder=1)
    size, alpha = (16, 0.85) if row.n <= FEW else (7, 0.35)
    axes.scatter(a, b, s=size, alpha=alpha, color=COLOURS[2], linewidths=0, rasterized=row.n > FEW, zorder=2)
    axes.set(xlim=(low - margin, high + margin), ylim=(low - margin, high + margin), aspect="equal")
    axes.set_title(f"{shorten(row.label)} ({row.n})", loc="left")
    axes.locator_params(nbins=4)


def sorted_differences(axes: Axes, row: Row) -> None:
    d = np.sort(row.differences)
    x = np.arange(len(d))
    colours = np.where(d * row.metric.better >= 0, BETTER, WORSE)
    if len(d) <= FEW:
        axes.bar(x, d, color=colours, width=0.85)
    else:
        for colour in (BETTER, WORSE):
            axes.fill_between(x, np.where(colours == colour, d, 0), step="mid", color=colour, lw=0, rasterized=True)
    axes.axhline(0, color=INK, lw=0.8)
    axes.set_title(f"{shorten(row.label)} ({row.n})", loc="left")
    axes.set_xticks([])
    axes.locator_params(axis="y", nbins=4)


def differences_by_label(rows: Sequence[Row], metric: Metric) -> Iterator[Plot]:
    """Mean difference with its interval, a line for each label, a colour for each run."""
    labels = list(dict.fromkeys(row.label for row in rows if row.mean_difference is not None))
    runs = list(dict.fromkeys(row.candidate for row in rows))
    for part, shown in enumerate(_parts(labels)):
        page = figure(0.75 + 0.24 * len(shown) * max(1, 0.6 * len(runs)))
        axes = page.add_subplot()
        for row in rows:
            if row.label not in shown or row.mean_difference is None:
                continue
            offset = (runs.index(row.candidate) - (len(runs) - 1) / 2) * 0.7 / len(runs)
            y, colour = shown.index(row.label) + offset, COLOURS[1 + runs.index(row.candidate) % (len(COLOURS) - 1)]
            if row.mean_interval:
                axes.plot([row.mean_interval.low, row.mean_interval.high], [y, y], color=colour, lw=1.8)
            axes.plot(row.mean_difference, y, "o", ms=4.5, color=colour, mfc=colour if row.mean_interval else "none")
        axes.axvline(0, color=INK, lw=0.8)
        _label_axis(axes, shown)
        axes.set_xlabel(_axis_name(metric, "difference"))
        if len(runs) > 1:
            _legend(page, runs, COLOURS[1:])
        better = "right" if metric.better > 0 else "left"
        about = (
            f"Mean difference in {metric.title} to {rows[0].baseline} with its 95 % interval, by label; better is to "
            f"the {better}. An open dot has no interval."
        )
        name = f"difference_{metric.name}_{part + 1}"
        yield Plot(
            name, f"{metric.title[0].upper()}{metric.title[1:]}: difference", about, page, "difference", part > 1
        )


def distributions(table: CaseTable, metric: Metric) -> Iterator[Plot]:
    """By label and run: median, quartiles (thick), 5th to 95th percentile (thin), and each case if they are few."""
    values = table.values[metric.name]
    counted = ((table.n_ref > 0) & np.isfinite(values)).all(0)
    labels = [label for k, label in enumerate(table.labels) if counted[:, k].any()]
    rng = np.random.default_rng(0)
    for part, shown in enumerate(_parts(labels, max(4, 2 * ROWS_PER_FIGURE // len(table.runs)))):
        page = figure(0.85 + 0.16 * len(shown) * (len(table.runs) + 0.6))
        axes = page.add_subplot()
        for y, label in enumerate(shown):
            k = table.labels.index(label)
            for r in range(len(table.runs)):
                v = values[r, counted[:, k], k]
                place = y + (r - (len(table.runs) - 1) / 2) * 0.78 / len(table.runs)
                low, first, middle, third, high = np.percentile(v, [5, 25, 50, 75, 95])
                colour = COLOURS[r % len(COLOURS)]
                if len(v) <= FEW:
                    height = place + rng.uniform(-0.1, 0.1, len(v))
                    axes.scatter(v, height, s=5, color=colour, alpha=0.5, linewidths=0, rasterized=len(shown) > 8)
                axes.plot([low, high], [place, place], color=colour, lw=0.9)
                axes.plot([first, third], [place, place], color=colour, lw=3.6, alpha=0.75)
                axes.plot(middle, place, "|", color=INK, ms=6, mew=1.4)
        _label_axis(axes, shown)
        axes.set_xlabel(_axis_name(metric))
        _legend(page, table.runs, COLOURS)
        about = (
            "Over the cases that count for all runs: median (tick), quartiles (thick), 5th to 95th percentile (thin)."
        )
        name = f"distribution_{metric.name}_{part + 1}"
        yield Plot(
            name, f"{metric.title[0].upper()}{metric.title[1:]}: distribution", about, page, "distribution", part > 1
        )


def curves(runs: Sequence[Run], folds: Sequence[str]) -> Iterator[Plot]:
    """The mean over folds, each fold thin behind it."""
    names = {"val_loss": "validation loss", "train_loss": "training loss", "pseudo_dice": "pseudo Dice"}
    for key, title in names.items():
        page = figure(2.5)
        axes = page.add_subplot()
        drawn = False
        for r, run in enumerate(runs):
            found = [c for f in folds if f in run.folds and (c := run.folds[f].log.curves.get(key))]
            drawn = drawn or bool(found)
            for curve in found:
                axes.plot(list(curve), list(curve.values()), color=COLOURS[r % len(COLOURS)], lw=0.5, alpha=0.35)
            shared = sorted(set.intersection(*(set(c) for c in found))) if found else []
            means = [float(np.mean([c[e] for c in found])) for e in shared]
            axes.plot(shared, means, color=COLOURS[r % len(COLOURS)], lw=1.6, marker="o" if len(shared) == 1 else "")
        if not drawn:
            continue
        axes.set_xlabel("epoch")
        axes.set_ylabel(title)
        _legend(page, [run.name for run in runs], COLOURS)
        about = f"{title.capitalize()} in the training logs: the mean over folds, each fold thin."
        yield Plot(f"curve_{key}", f"Training: {title}", about, page, "curve", False)


def _parts(labels: list[str], size: int = ROWS_PER_FIGURE) -> Iterator[list[str]]:
    for start in range(0, len(labels), size):
        yield labels[start : start + size]


def _label_axis(axes: Axes, labels: Sequence[str]) -> None:
    axes.set_yticks(range(len(labels)), [shorten(label) for label in labels])
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=MUTED, alpha=0.3, lw=0.5)
    axes.set_axisbelow(True)
    axes.locator_params(axis="x", nbins=5)


def _axis_name(metric: Metric, what: str = "") -> str:
    unit = f" [{metric.unit}]" if metric.unit else ""
    return f"{what + ' in ' if what else ''}{metric.title}{unit}"


def _legend(page: Figure, names: Sequence[str], colours: Sequence[str]) -> None:
    from matplotlib.lines import Line2D

    handles: list[Any] = [Line2D([], [], color=colours[i % len(colours)], lw=2.5) for i in range(len(names))]
    page.legend(handles, [shorten(n, 44) for n in names], loc="outside upper left", ncols=1, frameon=False)
