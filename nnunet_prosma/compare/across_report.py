"""The report over several data sets: across.json, across.csv, report.md, report.html, and a forest plot."""

from collections.abc import Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_prosma import __version__
from nnunet_prosma.compare.across import Across, sentence
from nnunet_prosma.compare.tables import csv_text
from nnunet_prosma.files import write_json, write_text
from nnunet_prosma.report.page import page
from nnunet_prosma.report.table import html_table, minus

if TYPE_CHECKING:
    from nnunet_prosma.report.drawing import Plot

HEADER = ("data set", "cases", "mean difference", "verdict there", "error from trainings")
METHOD = (
    "Each data set's difference, interval and verdict are those of its own report. Over all of them: random effects, "
    "the variance between data sets by Paule and Mandel, the interval by Hartung and Knapp (never narrower than with "
    "known weights), the prediction interval by Higgins, Thompson and Spiegelhalter. Where runs were trained several "
    "times, a data set's error holds cases and trainings crossed; else it is about these trained models."
)


def write_across(found: Sequence[Across], output: Path, plots: bool) -> None:
    write_json(output / "across.json", as_json(found))
    rows = [
        ["candidate", "baseline", "metric", "data_set", "cases", "mean_difference", "error", "low", "high", "outcome"]
    ]
    for one in found:
        for d in one.data_sets:
            numbers = [repr(x) for x in (d.mean_difference, d.error, d.low, d.high)]
            rows.append([one.candidate, one.baseline, one.metric, d.name, str(d.cases), *numbers, d.outcome])
    write_text(output / "across.csv", csv_text(rows))
    first = found[0]
    title = (
        f"{first.title[:1].upper()}{first.title[1:]} over {len(first.data_sets)} data sets, against {first.baseline}"
    )
    lines, body = [f"# {title}", ""], []
    drawn = {}
    if plots:
        from nnunet_prosma.report.drawing import draw

        limits = limits_of(found)
        forests = [forest(one, i, limits) for i, one in enumerate(found)]
        drawn = {d.name: d for d in draw(forests, output / "figures")}
    for i, one in enumerate(found):
        cells = [row(one, k) for k in range(len(one.data_sets))]
        lines += [f"**{sentence(one)}**", "", shares_sentence(one), ""]
        lines += ["| " + " | ".join(line) + " |" for line in (HEADER, ["---"] * len(HEADER), *cells)] + [""]
        body += [f'<section><p class="verdict">{escape(minus(sentence(one)))}</p><p>{escape(shares_sentence(one))}</p>']
        body += [html_table(HEADER, cells)]
        if plot := drawn.get(f"forest_{i + 1}"):
            lines += [f"![{plot.about}](figures/{plot.name}.png)", ""]
            said = f"<figcaption>{escape(plot.about)}</figcaption>"
            drawing = f'<figure role="img" aria-label="{escape(plot.about)}">{plot.svg}{said}</figure>'
            body += [f'<div class="plots">{drawing}</div>']
        body += ["</section>"]
    write_text(output / "report.md", "\n".join([*lines, METHOD, ""]))
    whole = "\n".join([*body, f"<p>{escape(METHOD)}</p>"])
    write_text(output / "report.html", page(title, whole, "All numbers: across.json and across.csv beside this page."))


def as_json(found: Sequence[Across]) -> dict[str, object]:
    return {
        "nnunet_prosma": __version__,
        "comparisons": [{**asdict(one), "shares": one.shares, "sentence": sentence(one)} for one in found],
    }


def row(one: Across, index: int) -> tuple[str, ...]:
    d = one.data_sets[index]
    share = "trained once" if d.from_trainings is None else f"{d.from_trainings / d.error**2:.0%}"
    span = f"{d.mean_difference:+.4f} [{d.low:+.4f}, {d.high:+.4f}]"
    return d.name, str(d.cases), span, d.outcome, share


def shares_sentence(one: Across) -> str:
    """A sentence on how much of the variance is of which level."""
    shares = one.shares
    trainings = shares["trainings"]
    unknown = "; that of trainings is not known, since not every run was trained several times"
    shown = ", ".join(f"{name} {share:.0%}" for name, share in shares.items() if share is not None)
    return f"Of the variance of one data set's difference: {shown}{unknown if trainings is None else ''}."


def limits_of(found: Sequence[Across]) -> tuple[float, float]:
    """What every forest of a page shows, 0 in it; a data set far outside does not squeeze the others."""
    import numpy as np

    from nnunet_prosma.compare.plots import fence

    low, high = fence(np.array([0.0, *(end for one in found for d in one.data_sets for end in (d.low, d.high))]))
    margin = 0.04 * (high - low)
    return low - margin, high + margin


def forest(one: Across, index: int, limits: tuple[float, float]) -> "Plot":
    from nnunet_prosma.report.drawing import INK, MUTED, Plot, figure, shorten

    names = [shorten(d.name) for d in one.data_sets]
    drawn = figure(0.9 + 0.26 * (len(names) + 2))
    axes = drawn.add_subplot()
    for y, d in enumerate(one.data_sets):
        axes.plot([d.low, d.high], [y, y], color=INK, lw=1.4)
        place = min(max(d.mean_difference, limits[0]), limits[1])
        axes.plot(place, y, "s" if place == d.mean_difference else "D", color=INK, ms=4.5, clip_on=False)
    overall, y = one.overall, len(names)
    if overall.prediction is not None:
        axes.plot([overall.prediction.low, overall.prediction.high], [y, y], color=MUTED, lw=1.0)
    axes.plot([overall.interval.low, overall.interval.high], [y, y], color="#0080c0", lw=3)
    axes.plot(overall.mean, y, "D", color="#0080c0", ms=5)
    axes.axvline(0, color=INK, lw=0.8)
    axes.set_yticks(range(len(names) + 1), [*names, "overall"])
    axes.set_ylim(len(names) + 0.6, -0.6)
    axes.set_xlim(limits)
    axes.set_xlabel(f"difference in {one.title}{f' [{one.unit}]' if one.unit else ''}")
    about = (
        f"Difference in {one.title} of {one.candidate} to {one.baseline} in each data set with its interval, and over "
        f"all (thick; thin: prediction for one more data set). A diamond at the edge lies further out."
    )
    return Plot(f"forest_{index + 1}", f"{one.candidate}: data sets", about, drawn, "forest", False)
