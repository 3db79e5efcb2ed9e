"""The plots of a comparison. Each is as wide as a phone, so that it is read there as it is; wide pages set them side
by side. What has a part for each label is cut into figures of four panels, however many labels there are."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nnunet_prosma.compare.analysis import Analysis, Loaded
from nnunet_prosma.compare.extremes import slug
from nnunet_prosma.compare.paired import PairedRow
from nnunet_prosma.compare.table import CaseTable, Metric
from nnunet_prosma.report.drawing import INK, MUTED, Plot, figure, shorten

COLOURS = ("#7f7f88", "#d55e00", "#0080c0", "#00a078", "#b76fb0", "#b09000")
BETTER, WORSE = "#0080c0", "#d55e00"
FEW = 60
"""Up to so many cases each is drawn for itself."""
ROWS_PER_FIGURE = 20
BEYOND = "A diamond at the edge is a case that lies further out."


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
    yield from curves(analysis.loaded)


def panels(name: str, draw: Callable[..., None], rows: Sequence[PairedRow], primary: PairedRow) -> Iterator[Plot]:
    """Four panels a figure, all on one scale."""
    better = "better" if primary.metric.better > 0 else "worse"
    about = {
        "scatter": f"{primary.metric.title} of each case, {primary.baseline} across, {primary.candidate} up. Above the "
        f"line {primary.candidate} is {better}. {BEYOND}",
        "sorted": f"Difference in {primary.metric.title} of each case, {primary.candidate} minus {primary.baseline}, "
        f"sorted. {BEYOND}",
    }[name]
    rows = [row for row in rows if row.n]
    seen = [row.differences for row in rows] if name == "sorted" else [v for row in rows for v in row.values]
    if not rows:
        return
    low, high = fence(np.concatenate(seen))
    if name == "sorted":
        low, high = min(low, 0.0), max(high, 0.0)
    margin = 0.05 * (high - low or 0.1)
    limits = (low - margin, high + margin)
    for start in range(0, len(rows), 4):
        part = rows[start : start + 4]
        across = 1 if len(part) == 1 else 2
        down = (len(part) + 1) // 2 if across == 2 else 1
        page = figure(2.05 * down + 0.4 if across == 2 else 3.8)
        for index, row in enumerate(part):
            draw(page.add_subplot(down, across, index + 1), row, limits)
        metric = _axis_name(primary.metric)
        page.supxlabel(f"{metric}, {shorten(primary.baseline, 40)}" if name == "scatter" else "cases, sorted", size=9)
        candidate = shorten(primary.candidate, 24)
        page.supylabel(f"{metric},\n{candidate}" if name == "scatter" else f"difference in\n{metric}", size=9)
        title = f"{primary.candidate}: {', '.join(shorten(r.label) for r in part)}"
        yield Plot(f"{name}_{slug(primary.candidate)}_{start // 4 + 1}", title, about, page, name, start >= 12)


def fence(values: np.ndarray) -> tuple[float, float]:
    """What a plot shows: all, but for values that lie far outside of the middle nine tenths."""
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(values, (5, 95)))
    reach = (high - low) or float(np.ptp(values)) or 0.1
    return max(float(values.min()), low - reach), min(float(values.max()), high + reach)


def scatter(axes: Axes, row: PairedRow, limits: tuple[float, float]) -> None:
    a, b = (v.clip(*limits) for v in row.values)
    out = (a != row.values[0]) | (b != row.values[1])
    axes.plot(limits, limits, color=MUTED, lw=0.8, zorder=1)
    size, alpha = (16, 0.85) if row.n <= FEW else (7, 0.35)
    kept = ~out
    axes.scatter(
        a[kept], b[kept], s=size, alpha=alpha, color=COLOURS[2], linewidths=0, rasterized=row.n > FEW, zorder=2
    )
    if out.any():
        axes.scatter(a[out], b[out], s=22, marker="D", color=COLOURS[1], linewidths=0, zorder=3, clip_on=False)
    axes.set(xlim=limits, ylim=limits, aspect="equal")
    axes.set_title(f"{shorten(row.label, 16)} ({row.n})", loc="left")
    axes.locator_params(nbins=4)


def sorted_differences(axes: Axes, row: PairedRow, limits: tuple[float, float]) -> None:
    d = np.sort(row.differences)
    x = np.arange(len(d))
    colours = np.where(d * row.metric.better >= 0, BETTER, WORSE)
    if len(d) <= FEW:
        axes.bar(x, d, color=colours, width=0.85)
    else:
        for colour in (BETTER, WORSE):
            axes.fill_between(x, np.where(colours == colour, d, 0), step="mid", color=colour, lw=0, rasterized=True)
    out = (d < limits[0]) | (d > limits[1])
    axes.scatter(x[out], d[out].clip(*limits), s=22, marker="D", color=WORSE, linewidths=0, zorder=3, clip_on=False)
    axes.axhline(0, color=INK, lw=0.8)
    axes.set_ylim(limits)
    axes.set_title(f"{shorten(row.label, 16)} ({row.n})", loc="left")
    axes.set_xticks([])
    axes.locator_params(axis="y", nbins=4)


def differences_by_label(rows: Sequence[PairedRow], metric: Metric) -> Iterator[Plot]:
    """Mean difference with its interval, a line for each label, a colour for each run."""
    labels = list(dict.fromkeys(row.label for row in rows if row.mean_difference is not None))
    runs = list(dict.fromkeys(row.candidate for row in rows))
    found = [row for row in rows if row.mean_difference is not None]
    ends = [[row.mean_interval.low, row.mean_interval.high] for row in found if row.mean_interval]
    low, high = fence(
        np.array([0.0, *(row.mean_difference or 0.0 for row in found), *(e for pair in ends for e in pair)])
    )
    margin = 0.05 * (high - low or 0.1)
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
            inside = low - margin <= row.mean_difference <= high + margin
            place = min(max(row.mean_difference, low - margin), high + margin)
            face = colour if row.mean_interval else "none"
            axes.plot(place, y, "o" if inside else "D", ms=4.5, color=colour, mfc=face, clip_on=False)
        axes.axvline(0, color=INK, lw=0.8)
        axes.set_xlim(min(low, 0.0) - margin, max(high, 0.0) + margin)
        _label_axis(axes, shown)
        axes.set_xlabel(_axis_name(metric, "difference"))
        if len(runs) > 1:
            _legend(page, runs, COLOURS[1:])
        better = "right" if metric.better > 0 else "left"
        about = (
            f"Mean difference in {metric.title} to {rows[0].baseline} with its interval, by label; better is to "
            f"the {better}. An open dot has no interval; a diamond at the edge lies further out."
        )
        name = f"difference_{metric.name}_{part + 1}"
        yield Plot(
            name, f"{metric.title[0].upper()}{metric.title[1:]}: difference", about, page, "difference", part > 1
        )


def distributions(table: CaseTable, metric: Metric) -> Iterator[Plot]:
    """Distributions by label and run: median, quartiles (thick), 5th to 95th percentile (thin), and each case if they
    are few."""
    values = table.values[metric.name]
    counted = ((table.n_ref > 0) & np.isfinite(values)).all(0)
    labels = [label for k, label in enumerate(table.labels) if counted[:, k].any()]
    rng = np.random.default_rng(0)
    for part, shown in enumerate(_parts(labels, max(4, 2 * ROWS_PER_FIGURE // len(table.runs)))):
        page = figure(0.85 + 0.16 * len(shown) * (len(table.runs) + 0.6))
        axes = page.add_subplot()
        places = [table.labels.index(label) for label in shown]
        left, right = fence(np.concatenate([values[r, counted[:, k], k] for k in places for r in range(len(values))]))
        for y, label in enumerate(shown):
            k = table.labels.index(label)
            for r in range(len(table.runs)):
                v = values[r, counted[:, k], k]
                place = y + (r - (len(table.runs) - 1) / 2) * 0.78 / len(table.runs)
                low, first, middle, third, high = np.percentile(v, [5, 25, 50, 75, 95])
                colour = COLOURS[r % len(COLOURS)]
                if len(v) <= FEW:
                    height = place + rng.uniform(-0.1, 0.1, len(v))
                    inside = (v >= left) & (v <= right)
                    few: dict[str, Any] = {"color": colour, "linewidths": 0, "rasterized": len(shown) > 8}
                    axes.scatter(v[inside], height[inside], s=5, alpha=0.5, **few)
                    axes.scatter(v[~inside].clip(left, right), height[~inside], s=14, marker="D", **few)
                axes.plot([low, high], [place, place], color=colour, lw=0.9)
                axes.plot([first, third], [place, place], color=colour, lw=3.6, alpha=0.75)
                axes.plot(middle, place, "|", color=INK, ms=6, mew=1.4)
        _label_axis(axes, shown)
        margin = 0.04 * (right - left or 0.1)
        axes.set_xlim(left - margin, right + margin)
        axes.set_xlabel(_axis_name(metric))
        _legend(page, table.runs, COLOURS)
        about = (
            "Over the cases that count for all runs: median (tick), quartiles (thick), 5th to 95th percentile (thin). "
            f"{BEYOND}"
        )
        name = f"distribution_{metric.name}_{part + 1}"
        yield Plot(
            name, f"{metric.title[0].upper()}{metric.title[1:]}: distribution", about, page, "distribution", part > 1
        )


def curves(loaded: Loaded) -> Iterator[Plot]:
    """The mean over folds and trainings, each thin behind it."""
    runs = loaded.runs
    folds = [
        [t.folds[f] for t in loaded.trainings_of(r) for f in loaded.folds if f in t.folds] for r in range(len(runs))
    ]
    whole = "folds and trainings, each" if loaded.trainings else "folds, each fold"
    names = {"val_loss": "validation loss", "train_loss": "training loss", "pseudo_dice": "pseudo Dice"}
    for key, title in names.items():
        page = figure(2.5)
        axes = page.add_subplot()
        drawn = False
        for r, of_run in enumerate(folds):
            found = [c for fold in of_run if (c := fold.log.curves.get(key))]
            drawn = drawn or bool(found)
            for curve in found:
                axes.plot(list(curve), list(curve.values()), color=COLOURS[r % len(COLOURS)], lw=0.5, alpha=0.35)
            shared = sorted(set.intersection(*(set(c) for c in found))) if found else []
            means = [float(np.mean([c[e] for c in found])) for e in shared]
            axes.plot(shared, means, color=COLOURS[r % len(COLOURS)], lw=1.6, marker="o" if len(shared) == 1 else "")
        if not drawn:
            continue
        seen = [v for of_run in folds for fold in of_run for v in fold.log.curves.get(key, {}).values()]
        low, high = fence(np.array(seen, dtype=float))
        margin = 0.05 * (high - low or 0.1)
        axes.set_ylim(low - margin, high + margin)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        axes.set_xlabel("epoch")
        axes.set_ylabel(title)
        _legend(page, [run.name for run in runs], COLOURS)
        about = f"{title.capitalize()} in the training logs: the mean over {whole} thin."
        yield Plot(f"curve_{key}", f"Training: {title}", about, page, "curve", False)


def _parts(labels: list[str], size: int = ROWS_PER_FIGURE) -> Iterator[list[str]]:
    size = -(-len(labels) // -(-len(labels) // size)) if labels else size  # no figure of one label beside full ones
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
