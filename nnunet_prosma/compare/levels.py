"""What lies below the one number of a run: its labels, and its trainings."""

from collections.abc import Sequence

import numpy as np

from nnunet_prosma.compare.analysis import Analysis
from nnunet_prosma.compare.columns import MEAN
from nnunet_prosma.compare.results import digits
from nnunet_prosma.compare.section import LONG, Section, Table
from nnunet_prosma.compare.tables import foreground_mean, nnunet_means


def label_means(analysis: Analysis) -> Section:
    """How the mean over labels is formed, and nnU-Net's own mean beside it."""
    table = analysis.table
    rows = []
    headline = MEAN if len(table.labels) > 1 else table.labels[0]
    for r, run in enumerate(table.runs):
        own = [nnunet_means(table.single, index) for index in table.indices(r)]
        foreground = mean_of_known([foreground_mean(table.single, index) for index in table.indices(r)])
        ours = next(
            (
                row.by_run[0 if run == row.baseline else 1].mean
                for row in analysis.rows
                if row.metric.name == "dice" and row.label == headline and row.by_run
                if run in (row.baseline, row.candidate)
            ),
            None,
        )
        shown = [_cell(mean_of_known([of_label[label] for of_label in own])) for label in table.labels]
        rows.append((run, *shown, _cell(foreground), _cell(ours)))
    header = ("run", *table.labels, "nnU-Net's foreground mean", "mean over cases of the mean over labels")
    text = (
        "The verdict's mean first averages the labels of each case that its ground truth has, then the cases. "
        "nnU-Net's foreground_mean first averages each label over the cases, false alarms as 0, then the labels. "
        "Both are Dice."
    )
    text += " Of a run that was trained several times, each is the mean over its trainings." if table.trainings else ""
    return Section("How the mean over labels is formed", [text], tables=[table_of(header, rows)])


def mean_of_known(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def table_of(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> Table:
    """Many labels go down, not across."""
    if len(header) <= LONG:
        return Table("Dice", header, rows)
    turned = list(zip(header, *rows, strict=True))
    return Table("Dice", turned[0], turned[1:], folded=True)


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def trainings(analysis: Analysis) -> Section:
    """Run-to-run beside case-to-case spread, where every run was trained several times."""
    rows: list[tuple[str, ...]] = []
    for row in analysis.primaries:
        if row.crossed is None or row.by_run is None:
            continue
        for which, run in ((0, row.baseline), (1, row.candidate)):
            if which == 0 and rows:
                continue
            sd = row.by_run[which].sd
            rows.append(
                (
                    run,
                    str(row.trainings[which]),
                    digits(row.by_run[which].mean, row),
                    f"{row.crossed.training_sd[which]:.{row.metric.digits + 1}f}",
                    "–" if sd is None else digits(sd, row),
                    "" if which == 0 else parts(row.crossed.from_cases, row.crossed.from_trainings),
                )
            )
    header = ("run", "trainings", "mean", "SD between trainings", "SD between cases", "error of the difference")
    text = (
        "Each run was trained several times. Its value in a case is the mean over them; the mean's interval and test "
        "hold for cases and trainings together: the half widths of Student's t of each are added as squares. Trainings "
        "have the part by which their means scatter on these cases, and cases what their choice adds. The median's "
        "interval, and Wilcoxon's p in summary.json, hold for the choice of cases alone."
    )
    return Section("Trainings", [text], tables=[Table("Run-to-run and case-to-case spread", header, rows)])


def parts(cases: float, trainings: float) -> str:
    """Shares of the squared error."""
    total = cases + trainings
    if total <= 0 or not np.isfinite(total):
        return "–"
    return f"{cases / total:.0%} cases, {trainings / total:.0%} trainings"
