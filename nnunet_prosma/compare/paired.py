"""The paired statistics of a run against the baseline: a row for each metric and label, and one for their mean."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from nnunet_prosma.compare.empty import usable
from nnunet_prosma.compare.table import CaseTable, Metric
from nnunet_prosma.statistics.bootstrap import Interval, intervals
from nnunet_prosma.statistics.signed_rank import DIGITS, SignedRank, holm, signed_rank

MEAN = "mean over labels"


@dataclass(frozen=True)
class Spread:
    mean: float
    sd: float | None
    median: float


@dataclass(frozen=True)
class Row:
    """differences: candidate minus baseline over the cases that count."""

    baseline: str
    candidate: str
    metric: Metric
    label: str
    primary: bool
    left_out: int
    cases: tuple[int, ...]
    values: tuple[np.ndarray, np.ndarray]
    spreads: tuple[Spread, Spread] | None
    mean_difference: float | None
    median_difference: float | None
    mean_interval: Interval | None
    median_interval: Interval | None
    test: SignedRank
    p_holm: float | None
    wins: int
    ties: int
    losses: int
    worse: int
    folds: dict[str, tuple[float, float]]

    @property
    def n(self) -> int:
        return len(self.cases)

    @property
    def differences(self) -> np.ndarray:
        return self.values[1] - self.values[0]


def paired_rows(table: CaseTable, primary: str, seed: int) -> list[Row]:
    """Every run after the first against the first. Holm's families are the primary rows, and all others."""
    drafts = [
        (run, metric, *column)
        for run in range(1, len(table.runs))
        for metric in table.metrics
        for column in columns(table, metric, run)
    ]
    found = intervals([values[1] - values[0] for *_, values in drafts], seed)
    tests = [signed_rank(values[1] - values[0]) for *_, values in drafts]
    headline = MEAN if len(table.labels) > 1 else table.labels[0] if table.labels else MEAN
    primaries = [metric.name == primary and label == headline for _, metric, label, *_ in drafts]
    families = [
        holm([test.p if first == member else None for first, test in zip(primaries, tests, strict=True)])
        for member in (True, False)
    ]
    adjusted = [first if first is not None else other for first, other in zip(*families, strict=True)]
    return [
        _row(table, *draft, first, interval, test, p)
        for draft, first, interval, test, p in zip(drafts, primaries, found, tests, adjusted, strict=True)
    ]


def columns(
    table: CaseTable, metric: Metric, run: int
) -> Iterator[tuple[str, np.ndarray, tuple[np.ndarray, np.ndarray]]]:
    """(label, indices of the cases that count, their values in both runs); the mean over labels first."""
    both: np.ndarray = np.logical_and.reduce(usable(table, metric.name)[[0, run]])
    pair = table.values[metric.name][[0, run]]
    if len(table.labels) > 1:
        counted = both.sum(1) > 0
        with np.errstate(invalid="ignore"):
            means = np.where(both, pair, 0).sum(2) / both.sum(1)
        yield MEAN, np.flatnonzero(counted), (means[0, counted], means[1, counted])
    for index, label in enumerate(table.labels):
        counted = both[:, index]
        yield label, np.flatnonzero(counted), (pair[0, counted, index], pair[1, counted, index])


def _row(
    table: CaseTable,
    run: int,
    metric: Metric,
    label: str,
    cases: np.ndarray,
    values: tuple[np.ndarray, np.ndarray],
    primary: bool,
    interval: tuple[Interval | None, Interval | None],
    test: SignedRank,
    p_holm: float | None,
) -> Row:
    better = np.round(metric.better * (values[1] - values[0]), DIGITS)
    return Row(
        baseline=table.runs[0],
        candidate=table.runs[run],
        metric=metric,
        label=label,
        primary=primary,
        left_out=len(table.cases) - len(cases),
        cases=tuple(int(i) for i in cases),
        values=values,
        spreads=(spread(values[0]), spread(values[1])) if len(cases) else None,
        mean_difference=float(np.mean(values[1] - values[0])) if len(cases) else None,
        median_difference=float(np.median(values[1] - values[0])) if len(cases) else None,
        mean_interval=interval[0],
        median_interval=interval[1],
        test=test,
        p_holm=p_holm,
        wins=int((better > 0).sum()),
        ties=int((better == 0).sum()),
        losses=int((better < 0).sum()),
        worse=int((better < -metric.worse_by).sum()),
        folds=fold_means([table.folds[i] for i in cases], values),
    )


def spread(values: np.ndarray) -> Spread:
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Spread(float(np.mean(values)), sd, float(np.median(values)))


def fold_means(folds: Sequence[str], values: tuple[np.ndarray, np.ndarray]) -> dict[str, tuple[float, float]]:
    names = np.array(folds)
    return {
        str(f): (float(values[0][names == f].mean()), float(values[1][names == f].mean())) for f in np.unique(names)
    }
