"""The sentence that a person can quote. It claims what the interval of the primary metric says, and no more."""

from nnunet_prosma.compare.paired import MEAN, Row
from nnunet_prosma.statistics.bootstrap import MINIMUM

NARROW = 30
"""Below so many cases the interval covers the truth in less than 94 of 100 repeats (docs/compare.md)."""
CAVEAT = (
    "The interval tells how much the result depends on the choice of cases. It does not tell how much it would change "
    "if the runs were trained again, nor whether it holds for another data set; folds share training cases."
)


def verdict(row: Row) -> str:
    """On the primary row of a run."""
    metric = row.metric
    what = metric.title + (f" ({MEAN})" if row.label == MEAN else f" of {row.label}")
    if row.n == 0 or row.mean_difference is None or row.spreads is None:
        return f"{row.candidate} cannot be compared with {row.baseline}: no case has a defined {what}."
    means = " against ".join(number(s.mean, row) for s in reversed(row.spreads))
    scope = f"Over {row.n} case{'' if row.n == 1 else 's'}"
    count = f"better in {row.wins}, equal in {row.ties}, worse in {row.losses}"
    if row.ties == row.n:
        return f"{scope}, {row.candidate} and {row.baseline} have the same {what} in every case."
    if row.mean_interval is None:
        why = f"{row.n} cases are too few for an interval ({MINIMUM} are needed)" if row.n < MINIMUM else "no interval"
        return (
            f"{scope}, no conclusion: {why}. The {what} of {row.candidate} is {number(row.spreads[1].mean, row)} on "
            f"average, that of {row.baseline} {number(row.spreads[0].mean, row)} ({count})."
        )
    low, high = row.mean_interval.low, row.mean_interval.high
    few = f" With fewer than {NARROW} cases such an interval is rather too narrow." if row.n < NARROW else ""
    span = f"95 % interval {number(low, row, True)} to {number(high, row, True)}"
    if low <= 0 <= high:
        return (
            f"{scope}, no difference in {what} is shown between {row.candidate} and {row.baseline}: {means}, mean "
            f"difference {number(row.mean_difference, row, True)}, {span}, which includes 0. That is not evidence that "
            f"they are equal: differences within the interval remain possible ({count}).{few}"
        )
    good = (row.mean_difference > 0) == (metric.better > 0)
    return (
        f"{scope}, {row.candidate} has a {'better' if good else 'worse'} {what} than {row.baseline}: {means}, mean "
        f"difference {number(row.mean_difference, row, True)}, {span} ({count}).{few}"
    )


def number(value: float | None, row: Row, signed: bool = False) -> str:
    """A value of this row's metric with its unit; a difference has its sign, and one digit more."""
    if value is None:
        return "–"
    digits = row.metric.digits + signed
    text = f"{value:{'+' if signed else ''}.{digits}f}"
    if float(text) == 0:
        text = f"{0:.{digits}f}" if abs(value) < 1e-12 or not signed else f"{value:+.0e}"
    return f"{text} {row.metric.unit}".strip()
