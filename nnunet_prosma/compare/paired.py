"""The paired statistics of a run against the baseline: a row for each metric and label, and one for their mean."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nnunet_prosma.compare.empty import usable
from nnunet_prosma.compare.table import CaseTable, Metric
from nnunet_prosma.statistics.median import median_interval
from nnunet_prosma.statistics.sign_flip import DIGITS, MINIMUM, sign_flip
from nnunet_prosma.statistics.signed_rank import SignedRank, signed_rank
from nnunet_prosma.statistics.studentised import LEVEL, Interval, mean_intervals

MEAN = "mean over labels"
ONE_QUESTION = {"dice": "iou", "iou": "dice"}
"""Of two metrics that are functions of each other only one is tested: a second test would ask the same again."""
ONE = "no test: one question with Dice"
CLUSTERED = SignedRank(0, None, None, "no test: cases belong together")
Role = Literal["primary", "secondary", "shown"]
"""primary: the question asked beforehand. secondary: tested, in a family of their own. shown: without a test."""


@dataclass(frozen=True)
class Spread:
    mean: float
    sd: float | None
    median: float


@dataclass(frozen=True)
class Test:
    """The sign-flip test of the mean difference. p is None where there is none, and reason says why."""

    differing: int
    p: float | None
    corrected: float | None
    reason: str


@dataclass(frozen=True)
class Column:
    """What is compared in one row: the cases that count, and their values in the baseline and in the run."""

    run: int
    metric: Metric
    label: str
    cases: np.ndarray
    values: tuple[np.ndarray, np.ndarray]

    @property
    def differences(self) -> np.ndarray:
        """Run minus baseline."""
        return self.values[1] - self.values[0]


@dataclass(frozen=True)
class Row:
    """differences: candidate minus baseline over the cases that count."""

    baseline: str
    candidate: str
    metric: Metric
    label: str
    role: Role
    absent: int
    missed: int
    clusters: int | None
    cases: tuple[int, ...]
    values: tuple[np.ndarray, np.ndarray]
    spreads: tuple[Spread, Spread] | None
    mean_difference: float | None
    median_difference: float | None
    mean_interval: Interval | None
    median_interval: Interval | None
    test: Test
    wilcoxon: SignedRank
    wins: int
    ties: int
    losses: int
    worse: int
    folds: dict[str, tuple[float, float]]

    @property
    def n(self) -> int:
        return len(self.cases)

    @property
    def units(self) -> int:
        """What is drawn independently: clusters of cases, or cases."""
        return self.n if self.clusters is None else self.clusters

    @property
    def left_out(self) -> int:
        """absent: no run is judged, the truth lacks the label. missed: a distance is not finite, a run missed it."""
        return self.absent + self.missed

    @property
    def effect_size(self) -> float | None:
        """Mean difference over the SD of differences (Cohen's d of paired values); None where none differ."""
        sd = float(np.std(self.differences, ddof=1)) if self.n > 1 else 0.0
        return self.mean_difference / sd if self.mean_difference is not None and sd > 1e-12 else None

    @property
    def primary(self) -> bool:
        return self.role == "primary"

    @property
    def differences(self) -> np.ndarray:
        return self.values[1] - self.values[0]


def paired_rows(table: CaseTable, primary: str, seed: int) -> list[Row]:
    """Every run after the first against the first.

    Corrected over the runs: the primary rows. Corrected over each other, and never below their run's primary p: the
    secondary rows; so that a report without any difference shows a corrected p below 5 % in no more than 5 % of cases.
    """
    columns = [
        column
        for run in range(1, len(table.runs))
        for metric in table.metrics
        for column in columns_of(table, metric, run)
    ]
    roles = [role_of(table, column, primary) for column in columns]
    differences = np.full((len(table.cases), len(columns)), np.nan)
    for k, column in enumerate(columns):
        differences[column.cases, k] = column.differences
    units = None if table.clusters is None else np.unique(table.clusters, return_inverse=True)[1]
    tests = tests_of(differences, columns, roles, seed, units)
    questions = max(1, sum(role == "primary" and bool(len(c.cases)) for c, role in zip(columns, roles, strict=True)))
    levels = [1 - (1 - LEVEL) / questions if role == "primary" else LEVEL for role in roles]
    intervals = mean_intervals(differences, levels, seed, units)
    return [
        row_of(table, column, role, test, interval)
        for column, role, test, interval in zip(columns, roles, tests, intervals, strict=True)
    ]


def columns_of(table: CaseTable, metric: Metric, run: int) -> Iterator[Column]:
    """The mean over labels first, then each label."""
    both: np.ndarray = np.logical_and.reduce(usable(table, metric.name)[[0, run]])
    pair = table.values[metric.name][[0, run]]
    if len(table.labels) > 1:
        counted = both.sum(1) > 0
        with np.errstate(invalid="ignore"):
            means = np.where(both, pair, 0).sum(2) / both.sum(1)
        yield Column(run, metric, MEAN, np.flatnonzero(counted), (means[0, counted], means[1, counted]))
    for index, label in enumerate(table.labels):
        counted = both[:, index]
        yield Column(run, metric, label, np.flatnonzero(counted), (pair[0, counted, index], pair[1, counted, index]))


def role_of(table: CaseTable, column: Column, primary: str) -> Role:
    headline = MEAN if len(table.labels) > 1 else table.labels[0]
    if column.metric.name == primary:
        return "primary" if column.label == headline else "secondary"
    asked_already = column.metric.name == ONE_QUESTION.get(primary)
    twice = column.metric.name == "iou" and primary != "iou"
    return "shown" if asked_already or twice else "secondary"


def tests_of(
    differences: np.ndarray, columns: list[Column], roles: list[Role], seed: int, units: np.ndarray | None
) -> list[Test]:
    """Of each column; see paired_rows for what is corrected over what."""
    families = [[k for k, role in enumerate(roles) if role == family] for family in ("primary", "secondary")]
    asked = np.where([role == "shown" for role in roles], np.nan, differences)
    flipped = sign_flip(asked, seed, families, units)
    gate = {columns[k].run: p for k in families[0] if (p := flipped.corrected[k]) is not None}
    tests = []
    for k, role in enumerate(roles):
        corrected = flipped.corrected[k]
        if corrected is not None and role == "secondary":
            corrected = max(corrected, gate.get(columns[k].run, 1.0))
        reason = (
            ONE if role == "shown" else why_not(flipped.differing[k], units is not None) if corrected is None else ""
        )
        tests.append(Test(flipped.differing[k], flipped.p[k], corrected, reason))
    return tests


def why_not(differing: int, clusters: bool) -> str:
    if not differing:
        return "no test: no case differs"
    return f"no test: {differing} {'clusters' if clusters else 'cases'} differ, {MINIMUM} are needed"


def row_of(table: CaseTable, column: Column, role: Role, test: Test, interval: Interval | None) -> Row:
    metric, d, some = column.metric, column.differences, len(column.cases) > 0
    better = np.round(metric.better * d, DIGITS)
    labels = slice(None) if column.label == MEAN else table.labels.index(column.label)
    present = int((table.n_ref[:, labels] > 0).reshape(len(table.cases), -1).any(1).sum())
    clusters = len({table.clusters[i] for i in column.cases}) if table.clusters is not None else None
    return Row(
        baseline=table.runs[0],
        candidate=table.runs[column.run],
        metric=metric,
        label=column.label,
        role=role,
        absent=len(table.cases) - present,
        missed=present - len(column.cases),
        clusters=clusters,
        cases=tuple(int(i) for i in column.cases),
        values=column.values,
        spreads=(spread(column.values[0]), spread(column.values[1])) if some else None,
        mean_difference=float(np.mean(d)) if some else None,
        median_difference=float(np.median(d)) if some else None,
        mean_interval=interval,
        median_interval=median_interval(d) if clusters is None else None,
        test=test,
        wilcoxon=signed_rank(d) if clusters is None else CLUSTERED,
        wins=int((better > 0).sum()),
        ties=int((better == 0).sum()),
        losses=int((better < 0).sum()),
        worse=int((better < -metric.worse_by).sum()),
        folds=fold_means(table, column),
    )


def spread(values: np.ndarray) -> Spread:
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Spread(float(np.mean(values)), sd, float(np.median(values)))


def fold_means(table: CaseTable, column: Column) -> dict[str, tuple[float, float]]:
    names = np.array([table.folds[i] for i in column.cases])
    a, b = column.values
    return {str(f): (float(a[names == f].mean()), float(b[names == f].mean())) for f in np.unique(names)}
