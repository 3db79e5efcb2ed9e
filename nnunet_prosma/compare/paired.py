"""The paired statistics of a run against the baseline: a row for each metric and label, and one for their mean."""

from dataclasses import dataclass, replace

import numpy as np

from nnunet_prosma.compare.columns import MEAN, Column, Role, both_usable, columns_of, role_of
from nnunet_prosma.compare.inference import Inference, Test, infer
from nnunet_prosma.compare.table import CaseTable, Metric
from nnunet_prosma.statistics.crossed import Crossed
from nnunet_prosma.statistics.median import median_interval
from nnunet_prosma.statistics.sign_flip import DIGITS
from nnunet_prosma.statistics.signed_rank import SignedRank, signed_rank
from nnunet_prosma.statistics.studentised import Interval, standard_error

CLUSTERED = SignedRank(0, None, None, "no test: cases belong together")


@dataclass(frozen=True)
class MeanAndDeviation:
    mean: float
    sd: float | None
    median: float


@dataclass(frozen=True)
class PairedRow:
    """differences: candidate minus baseline over the cases that count."""

    baseline: str
    candidate: str
    metric: Metric
    label: str
    role: Role
    absent: int
    missed: int
    some_missed: int
    """Cases in which either run has no finite value of a label that is there; missed: those without any label left."""
    clusters: int | None
    cases: tuple[int, ...]
    values: tuple[np.ndarray, np.ndarray]
    by_run: tuple[MeanAndDeviation, MeanAndDeviation] | None
    mean_difference: float | None
    median_difference: float | None
    mean_interval: Interval | None
    median_interval: Interval | None
    error: float | None
    test: Test
    crossed: Crossed | None
    trainings: tuple[int, int]
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
    def missed_in_part(self) -> int:
        """Cases that stay, with the labels that both runs found."""
        return self.some_missed - self.missed

    @property
    def all_equal(self) -> bool:
        """Whether the differences do not vary, and so tell of no error."""
        return self.n > 0 and float(np.ptp(self.differences)) <= 1e-12

    @property
    def primary(self) -> bool:
        return self.role == "primary"

    @property
    def differences(self) -> np.ndarray:
        return self.values[1] - self.values[0]


def paired_rows(table: CaseTable, primary: str, seed: int) -> list[PairedRow]:
    """The rows of every run after the first, against the first."""
    columns = [
        column
        for run in range(1, len(table.runs))
        for metric in table.metrics
        for column in columns_of(table, metric, run)
    ]
    roles = [role_of(table, column, primary) for column in columns]
    found = infer(table, columns, roles, seed)
    return [
        row_of(table, column, role, inference) for column, role, inference in zip(columns, roles, found, strict=True)
    ]


def row_of(table: CaseTable, column: Column, role: Role, inference: Inference) -> PairedRow:
    metric, d, some = column.metric, column.differences, len(column.cases) > 0
    better = np.round(metric.better * d, DIGITS)
    labels = slice(None) if column.label == MEAN else table.labels.index(column.label)
    there = (table.n_ref[:, labels] > 0).reshape(len(table.cases), -1)
    lacking = there & ~both_usable(table, metric, column.run)[:, labels].reshape(there.shape)
    present = int(there.any(1).sum())
    units = None if table.clusters is None else np.array(table.clusters)[column.cases]
    clusters = len({table.clusters[i] for i in column.cases}) if table.clusters is not None else None
    return PairedRow(
        baseline=table.runs[0],
        candidate=table.runs[column.run],
        metric=metric,
        label=column.label,
        role=role,
        absent=len(table.cases) - present,
        missed=present - len(column.cases),
        some_missed=int(lacking.any(1).sum()),
        clusters=clusters,
        cases=tuple(int(i) for i in column.cases),
        values=column.values,
        by_run=(mean_and_deviation(column.values[0]), mean_and_deviation(column.values[1])) if some else None,
        mean_difference=float(np.mean(d)) if some else None,
        median_difference=float(np.median(d)) if some else None,
        mean_interval=within(inference.interval, metric.largest),
        median_interval=median_interval(d) if clusters is None else None,
        error=inference.crossed.error if inference.crossed else standard_error(d, units),
        test=inference.test,
        crossed=inference.crossed,
        trainings=(len(column.trainings[0]), len(column.trainings[1])) if column.trainings else (1, 1),
        wilcoxon=signed_rank(d) if clusters is None else CLUSTERED,
        wins=int((better > 0).sum()),
        ties=int((better == 0).sum()),
        losses=int((better < 0).sum()),
        worse=int((better < -metric.worse_by).sum()),
        folds=fold_means(table, column),
    )


def within(interval: Interval | None, largest: float) -> Interval | None:
    """The part of the interval that the mean of such differences can lie in."""
    if interval is None:
        return None
    return replace(interval, low=max(interval.low, -largest), high=min(interval.high, largest))


def mean_and_deviation(values: np.ndarray) -> MeanAndDeviation:
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return MeanAndDeviation(float(np.mean(values)), sd, float(np.median(values)))


def fold_means(table: CaseTable, column: Column) -> dict[str, tuple[float, float]]:
    names = np.array([table.folds[i] for i in column.cases])
    a, b = column.values
    return {str(f): (float(a[names == f].mean()), float(b[names == f].mean())) for f in np.unique(names)}
