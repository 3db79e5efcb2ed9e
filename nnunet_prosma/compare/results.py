"""The tables of the paired statistics, in the words and digits of the report."""

from nnunet_prosma.compare import unmeasured
from nnunet_prosma.compare.analysis import Analysis
from nnunet_prosma.compare.columns import MEAN
from nnunet_prosma.compare.paired import MeanAndDeviation, PairedRow
from nnunet_prosma.compare.section import LONG, Section, Table
from nnunet_prosma.compare.table import Metric
from nnunet_prosma.compare.verdict import number, percent
from nnunet_prosma.statistics.p_values import p_value
from nnunet_prosma.statistics.studentised import LEVEL, MINIMUM, Interval

BEHIND = "behind by"
COLUMNS = (
    "cases",
    "baseline mean ± SD",
    "mean ± SD",
    "mean difference",
    "effect size",
    "p",
    "p (corrected)",
    "ahead / equal / behind",
    BEHIND,
    "baseline median",
    "median",
    "median difference",
)


def results(analysis: Analysis) -> Section:
    primary = analysis.primaries[0].metric
    twins = "Dice beside IoU" if primary.name == "iou" else "IoU beside Dice"
    interval = next((row.mean_interval for row in analysis.primaries if row.mean_interval), None)
    level = percent(interval.level if interval else LEVEL)
    tables = []
    if len(analysis.table.labels) >= LONG:
        tables.append(_overview(analysis))
    for metric in analysis.table.metrics:
        for candidate in analysis.table.runs[1:]:
            rows = [r for r in analysis.rows if r.metric is metric and r.candidate == candidate]
            better = "larger" if metric.better > 0 else "smaller"
            title = f"{metric.title}{_unit(metric)}: {candidate} against {analysis.table.runs[0]} ({better} is better)"
            worse = f"{BEHIND} > {metric.worse_by:g} {metric.unit}".strip()
            header: tuple[str, ...] = ("label", *(worse if column == BEHIND else column for column in COLUMNS))
            lines: list[tuple[str, ...]] = [(row.label, *_result(row)) for row in rows]
            if metric.name == "hd95":  # what has no finite distance: another thing for each of the two
                header = (*header[:2], "absent in truth", "missed by either", *header[2:])
                lines = [(a, str(r.n), str(r.absent), missed(r), *b) for r, (a, _, *b) in zip(rows, lines, strict=True)]
            folded = len(rows) > LONG or metric is not primary
            tables.append(Table(title, header, lines, folded))
    test = "Student's t over cases and trainings" if analysis.table.repeated else "the sign-flip test"
    note = (
        f"Differences are run minus baseline. The first row of {primary.title} is the one question asked beforehand, "
        f"and the verdict is about it alone: its p is corrected over the runs, and its interval has the level that so "
        f"many runs ask for ({level}). All other rows describe: their intervals hold each for itself (95 %), their p "
        f"is corrected over all of them and is never smaller than that of the first row. p is "
        f"{test} of the mean difference; {twins} asks nothing new and has none. Effect size: the mean "
        f"difference over the SD of the differences."
    )
    told = unmeasured.sentence(analysis.loaded)
    return Section("Results", [*filter(None, [told]), note], tables=tables, plots=("difference",))


def missed(row: PairedRow) -> str:
    """Cases that are left out since a run missed them, and those of which only some labels are left out."""
    return f"{row.missed} (and {row.missed_in_part} in part)" if row.missed_in_part else str(row.missed)


def _overview(analysis: Analysis) -> Table:
    """Only the means over labels, where there are many labels."""
    rows = [row for row in analysis.rows if row.label == MEAN]
    header = ("metric", *COLUMNS)
    lines = [(f"{row.candidate}: {row.metric.title}{_unit(row.metric)}", *_result(row)) for row in rows]
    return Table(f"Mean over labels, against {analysis.table.runs[0]}", header, lines)


def _unit(metric: Metric) -> str:
    return f" [{metric.unit}]" if metric.unit else ""


def _result(row: PairedRow) -> tuple[str, ...]:
    """A cell for each of COLUMNS."""
    reasons = ((row.absent, "absent"), (row.missed, "missed"))
    out = "".join(f" (−{count} {reason})" for count, reason in reasons if count)
    out += f" ({row.missed_in_part} missed in part)" if row.missed_in_part else ""
    if row.by_run is None:
        return (f"{row.n}{out}", *["–"] * (len(COLUMNS) - 1))
    (a, b) = row.by_run
    return (
        f"{row.n}{out}",
        _mean_and_deviation(a, row),
        _mean_and_deviation(b, row),
        _difference(row.mean_difference, row.mean_interval, why_no_interval(row), row),
        "–" if row.effect_size is None else f"{row.effect_size:+.2f}",
        p_value(row.test.p) if row.test.p is not None else row.test.reason,
        p_value(row.test.corrected),
        f"{row.wins} / {row.ties} / {row.losses}",
        f"{row.worse} ({row.worse / row.n:.0%})",
        digits(a.median, row),
        digits(b.median, row),
        _difference(row.median_difference, row.median_interval, why_no_median_interval(row), row),
    )


def cells(row: PairedRow) -> dict[str, str]:
    """The cells by their column."""
    return dict(zip(COLUMNS, _result(row), strict=True))


def digits(value: float, row: PairedRow) -> str:
    return f"{value:.{row.metric.digits}f}"


def _mean_and_deviation(values: MeanAndDeviation, row: PairedRow) -> str:
    return digits(values.mean, row) + (f" ± {digits(values.sd, row)}" if values.sd is not None else "")


def why_no_interval(row: PairedRow) -> str:
    if row.units < MINIMUM:
        return f"no interval: {row.units} < {MINIMUM}"
    return "all differences are equal" if row.all_equal else "too few differ"


def why_no_median_interval(row: PairedRow) -> str:
    """The order of cases tells nothing where they belong together."""
    return f"no interval: {row.n} < {MINIMUM}" if row.clusters is None else "no interval: cases belong together"


def _difference(value: float | None, interval: Interval | None, why_not: str, row: PairedRow) -> str:
    if value is None:
        return "–"
    centre = number(value, row, True).removesuffix(row.metric.unit).strip()
    if interval is None:
        return f"{centre} ({why_not})"
    low, high = (number(v, row, True).removesuffix(row.metric.unit).strip() for v in (interval.low, interval.high))
    return f"{centre} [{low}, {high}]"
