"""The sentence that a person can quote: only of the primary row, and only where test and interval agree."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from nnunet_prosma.compare.columns import MEAN
from nnunet_prosma.compare.paired import PairedRow
from nnunet_prosma.statistics.p_values import ALPHA, said
from nnunet_prosma.statistics.studentised import MINIMUM

NARROW = 30
"""Below so many cases rare large differences can be missed altogether, and then the interval is too narrow."""
CAVEAT = (
    "The verdict is about these trained models: the interval tells how much the result depends on the choice of cases. "
    "It does not tell how much it would change if the runs were trained again, nor whether it holds for another data "
    "set; folds share training cases."
)
CAVEAT_OF_METHODS = (
    "The verdict is about the methods: the interval covers the choice of cases and the draw of trainings, which were "
    "repeated. It does not tell whether the result holds for another data set; folds share training cases."
)
Within = Literal["equivalent", "not inferior", "open"]
Outcome = Literal["better", "worse", "no difference shown", "identical", "no conclusion"]


@dataclass(frozen=True)
class Verdict:
    """The verdict on one run against the baseline. agree: whether test and interval say the same; None where one is
    missing."""

    baseline: str
    candidate: str
    outcome: Outcome
    agree: bool | None
    sentence: str
    margin: float | None = None
    within: Within | None = None
    of_methods: bool = False
    """Whether both were trained several times, so that it speaks of the methods and not of these trained models."""


def verdict(row: PairedRow, margin: float | None = None) -> Verdict:
    """The verdict on the primary row of a run. "better" and "worse" need a corrected p below 5 % and an interval
    clear of 0.

    margin: a difference too small to matter, said beforehand.
    """
    outcome, agree = judge(row)
    within = None if margin is None else judge_margin(row, margin)
    said = sentence(row, outcome) + (f" {margin_sentence(row, margin, within)}" if margin and within else "")
    return Verdict(row.baseline, row.candidate, outcome, agree, said, margin, within, min(row.trainings) > 1)


def judge_margin(row: PairedRow, margin: float) -> Within:
    """Where the interval lies: wholly within the margin, or its lower end above it; "open" where there is no
    interval."""
    if row.mean_interval is None:
        return "open"
    ends = sorted(end * row.metric.better for end in (row.mean_interval.low, row.mean_interval.high))
    if ends[0] > -margin:
        return "equivalent" if ends[1] < margin else "not inferior"
    return "open"


def margin_sentence(row: PairedRow, margin: float, within: Within) -> str:
    allowed = f"{number(margin, row)} (said beforehand)"
    if within == "equivalent":
        return f"{row.candidate} and {row.baseline} are equivalent: the interval lies within a margin of {allowed}."
    if within == "not inferior":
        return f"{row.candidate} is not inferior to {row.baseline} by a margin of {allowed}."
    return f"Neither equivalence nor non-inferiority is shown for a margin of {allowed}."


def judge(row: PairedRow) -> tuple[Outcome, bool | None]:
    if row.n and row.ties == row.n:
        return "identical", None
    if row.units < MINIMUM or row.mean_difference is None or (row.mean_interval is None and row.test.corrected is None):
        return "no conclusion", None
    by_interval = row.mean_interval is not None and not row.mean_interval.low <= 0 <= row.mean_interval.high
    by_test = row.test.corrected is not None and row.test.corrected < ALPHA
    if by_interval and by_test:
        return ("better" if row.mean_difference * row.metric.better > 0 else "worse"), True
    known = row.mean_interval is not None and row.test.corrected is not None
    return "no difference shown", (by_interval == by_test) if known else None


def sentence(row: PairedRow, outcome: Outcome) -> str:
    return found_sentence(row, outcome) + misses(row)


def misses(row: PairedRow) -> str:
    """Said where a distance is not finite: a run that misses more is not rewarded unseen."""
    if not row.some_missed:
        return ""
    cases = f"{row.some_missed} case{'' if row.some_missed == 1 else 's'}"
    if row.label != MEAN:
        return f" Left out: {cases} in which either missed {row.label}, where no distance is finite."
    whole = f"; {row.missed} of them {'is' if row.missed == 1 else 'are'} left out whole" if row.missed else ""
    return f" Either missed a label in {cases}, and it is left out there, since its distance is not finite{whole}."


def found_sentence(row: PairedRow, outcome: Outcome) -> str:
    what = row.metric.title + (f" ({MEAN})" if row.label == MEAN else f" of {row.label}")
    if row.mean_difference is None or row.by_run is None:
        return f"{row.candidate} cannot be compared with {row.baseline}: no case has a defined {what}."
    scope = f"Over {row.n} case{'' if row.n == 1 else 's'}"
    if row.clusters is not None:
        scope += f" of {row.clusters} cluster{'' if row.clusters == 1 else 's'}"
    if min(row.trainings) > 1:
        scope += f", {row.trainings[1]} and {row.trainings[0]} trainings"
    if outcome == "identical":
        return f"{scope}, {row.candidate} and {row.baseline} have the same {what} in every case."
    count = f"ahead in {row.wins} of them, equal in {row.ties}, behind in {row.losses}"
    if outcome == "no conclusion":
        return (
            f"{scope}, no conclusion: {why_none(row)}. The {what} of {row.candidate} is "
            f"{number(row.by_run[1].mean, row)} on average, that of {row.baseline} "
            f"{number(row.by_run[0].mean, row)} ({count})."
        )
    means = " against ".join(number(s.mean, row) for s in reversed(row.by_run))
    found = f"{means}, mean difference {number(row.mean_difference, row, True)}, {span(row)}, {p_text(row)}"
    draws = "cases" if row.clusters is None else "clusters"
    few = (
        f" With fewer than {NARROW} {draws}, rare large differences can be missed altogether."
        if row.units < NARROW
        else ""
    )
    if outcome == "no difference shown":
        remain = ": differences within the interval remain possible" if row.mean_interval else ""
        return (
            f"{scope}, no difference in {what} is shown between {row.candidate} and {row.baseline}: {found}. "
            f"{disagreement(row)}That is not evidence that they are equal{remain} ({count}).{few}"
        )
    return f"{scope}, {row.candidate} has a {outcome} {what} than {row.baseline}: {found} ({count}).{few}"


def why_none(row: PairedRow) -> str:
    if row.units < MINIMUM:
        draw = "case" if row.clusters is None else "cluster"
        draws = f"1 {draw} is" if row.units == 1 else f"{row.units} {draw}s are"
        return f"{draws} too few for an interval ({MINIMUM} are needed)"
    if row.all_equal:
        return "all differences are equal, so nothing tells by how much others might differ"
    return f"only {row.test.differing} of them differ, too few for a test or an interval"


def disagreement(row: PairedRow) -> str:
    """Said where the test alone, or the interval alone, would call it a difference."""
    agree = judge(row)[1]
    if agree is not False or row.mean_interval is None:
        return ""
    alone = "interval" if not row.mean_interval.low <= 0 <= row.mean_interval.high else "test"
    return f"The {alone} alone would call it a difference; test and interval do not agree, so nothing is claimed. "


def span(row: PairedRow) -> str:
    if row.mean_interval is None:
        return f"no interval ({'all differences are equal' if row.all_equal else 'too few cases differ'})"
    low, high, level = row.mean_interval.low, row.mean_interval.high, row.mean_interval.level
    return f"{percent(level)} interval {number(low, row, True)} to {number(high, row, True)}"


def percent(level: float) -> str:
    return f"{100 * level:.4g} %"


def p_text(row: PairedRow) -> str:
    if row.test.corrected is None:
        return row.test.reason
    return said(row.test.corrected)


def number(value: float | None, row: PairedRow, signed: bool = False) -> str:
    """A value of this row's metric with its unit; a difference has its sign, and one digit more."""
    if value is None:
        return "–"
    digits = row.metric.digits + signed
    text = f"{value:{'+' if signed else ''}.{digits}f}"
    if float(text) == 0:
        text = f"{0:.{digits}f}" if abs(value) < 1e-12 or not signed else tiny(value)
    return f"{text} {row.metric.unit}".strip()


def tiny(value: float) -> str:
    """One digit that is not 0, written out as long as a reader counts zeros."""
    return f"{value:+.{-math.floor(math.log10(abs(value)))}f}" if abs(value) >= 1e-6 else f"{value:+.0e}"


def caveat(verdicts: Iterable[Verdict]) -> str:
    return CAVEAT_OF_METHODS if all(verdict.of_methods for verdict in verdicts) else CAVEAT
