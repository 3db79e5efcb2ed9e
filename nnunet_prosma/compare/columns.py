"""What is compared in each row of the statistics, and which rows are tested."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nnunet_prosma.compare.empty import usable
from nnunet_prosma.compare.table import CaseTable, Metric

MEAN = "mean over labels"
ONE_QUESTION = {"dice": "iou", "iou": "dice"}
"""Of two metrics that are functions of each other only one is tested: a second test would ask the same again."""
Role = Literal["primary", "secondary", "shown"]
"""primary: the question asked beforehand. secondary: tested, in a family of their own. shown: without a test."""


@dataclass(frozen=True)
class Column:
    """What is compared in one row: the cases that count, and their values in the baseline and in the run."""

    run: int
    metric: Metric
    label: str
    cases: np.ndarray
    values: tuple[np.ndarray, np.ndarray]
    trainings: tuple[np.ndarray, ...] | None = None
    """Values of each arm (trainings, cases), where both were trained several times; values are the means over them."""

    @property
    def differences(self) -> np.ndarray:
        """Run minus baseline."""
        return self.values[1] - self.values[0]


def columns_of(table: CaseTable, metric: Metric, run: int) -> Iterator[Column]:
    """The mean over labels first, then each label."""
    both = both_usable(table, metric, run)
    every = table.values[metric.name]
    if len(table.labels) > 1:
        counted = both.sum(1) > 0
        means = mean_over_labels(every[[0, run]], both)
        own = trainings_of(table, metric, run)
        several = own and tuple(mean_over_labels(v, both)[:, counted] for v in own)
        yield Column(run, metric, MEAN, np.flatnonzero(counted), (means[0, counted], means[1, counted]), several)
    for index, label in enumerate(table.labels):
        counted = both[:, index]
        own = trainings_of(table, metric, run)
        several = own and tuple(v[:, counted, index] for v in own)
        pair = (every[0, counted, index], every[run, counted, index])
        yield Column(run, metric, label, np.flatnonzero(counted), pair, several)


def both_usable(table: CaseTable, metric: Metric, run: int) -> np.ndarray:
    """(cases, labels): where the baseline and the run both have a value that enters the statistics."""
    both: np.ndarray = np.logical_and.reduce(usable(table, metric.name)[[0, run]])
    return both


def mean_over_labels(values: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """(..., cases, labels) -> (..., cases)."""
    with np.errstate(invalid="ignore"):
        means: np.ndarray = np.where(counted, values, 0).sum(-1) / counted.sum(-1)
    return means


def trainings_of(table: CaseTable, metric: Metric, run: int) -> tuple[np.ndarray, np.ndarray] | None:
    """(trainings, cases, labels) of the baseline and the run, where each arm was trained several times."""
    if table.trainings is None or not table.repeated:
        return None
    values = table.trainings.values[metric.name]
    return values[table.arms[0]], values[table.arms[run]]


def role_of(table: CaseTable, column: Column, primary: str) -> Role:
    headline = MEAN if len(table.labels) > 1 else table.labels[0]
    if column.metric.name == primary:
        return "primary" if column.label == headline else "secondary"
    asked_already = column.metric.name == ONE_QUESTION.get(primary)
    twice = column.metric.name == "iou" and primary != "iou"
    return "shown" if asked_already or twice else "secondary"
