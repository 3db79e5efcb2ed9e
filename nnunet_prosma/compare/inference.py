"""Tests and intervals of all rows of a report: over cases, or over cases and trainings where arms were repeated."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nnunet_prosma.compare.columns import Column, Role
from nnunet_prosma.compare.table import CaseTable
from nnunet_prosma.statistics.crossed import Crossed, crossed
from nnunet_prosma.statistics.sign_flip import DIGITS, MINIMUM, SignFlip, sign_flip, unit_sums
from nnunet_prosma.statistics.signed_rank import holm
from nnunet_prosma.statistics.studentised import LEVEL, Interval, mean_intervals
from nnunet_prosma.statistics.studentised import MINIMUM as MINIMUM_OF_INTERVAL

ONE = {"iou": "no test: one question with Dice", "dice": "no test: one question with IoU"}
"""Of the metric that is not tested, since the other one of the two is."""


@dataclass(frozen=True)
class Test:
    """A test of the mean difference. p is None where there is none, and reason says why."""

    differing: int
    p: float | None
    corrected: float | None
    reason: str


@dataclass(frozen=True)
class Inference:
    """crossed: the parts that cases and trainings have in the error, where arms were repeated."""

    test: Test
    interval: Interval | None
    crossed: Crossed | None = None


def infer(table: CaseTable, columns: Sequence[Column], roles: Sequence[Role], seed: int) -> list[Inference]:
    """The interval and the tests of each column.

    Corrected over the runs: the primary rows. Corrected over each other, and never below their run's primary p: the
    secondary rows; so that a report without any difference shows a corrected p below 5 % in no more than 5 % of cases.
    """
    differences = np.full((len(table.cases), len(columns)), np.nan)
    for k, (column, role) in enumerate(zip(columns, roles, strict=True)):
        if role == "shown" and column.trainings is not None:
            continue
        differences[column.cases, k] = column.differences
    units = None if table.clusters is None else np.unique(table.clusters, return_inverse=True)[1]
    questions = max(1, sum(role == "primary" and bool(len(c.cases)) for c, role in zip(columns, roles, strict=True)))
    levels = [1 - (1 - LEVEL) / questions if role == "primary" else LEVEL for role in roles]
    families = [[k for k, role in enumerate(roles) if role == family] for family in ("primary", "secondary")]
    if table.repeated:
        parts: list[Crossed | None] = [crossed_of(column, units) for column in columns]
        intervals = [part.interval(level) if part else None for part, level in zip(parts, levels, strict=True)]
        tested = by_trainings(columns, parts, families, units)
    else:
        parts = [None] * len(columns)
        intervals = mean_intervals(differences, levels, seed, units)
        tested = sign_flip(np.where([role == "shown" for role in roles], np.nan, differences), seed, families, units)
    tests = gated(tested, columns, roles, units is not None)
    return [Inference(*found) for found in zip(tests, intervals, parts, strict=True)]


def crossed_of(column: Column, units: np.ndarray | None) -> Crossed | None:
    """None where there are too few cases, or nothing varies."""
    own = None if units is None else units[column.cases]
    count = len(column.cases) if own is None else len(np.unique(own))
    if count < MINIMUM_OF_INTERVAL or column.trainings is None:
        return None
    return crossed(column.trainings[0], column.trainings[1], own)


def by_trainings(
    columns: Sequence[Column],
    parts: Sequence[Crossed | None],
    families: Sequence[Sequence[int]],
    units: np.ndarray | None,
) -> SignFlip:
    """Student's t over cases and trainings, corrected by Holm's method in each family."""
    differing = []
    for column in columns:
        own = None if units is None else units[column.cases]
        differing.append(int((unit_sums(np.round(column.differences[:, None], DIGITS), own) != 0).sum()))
    p = [part.p if part and count >= MINIMUM else None for part, count in zip(parts, differing, strict=True)]
    corrected: list[float | None] = [None] * len(columns)
    for family in families:
        for k, value in zip(family, holm([p[k] for k in family]), strict=True):
            corrected[k] = value
    return SignFlip(differing, p, corrected, exact=False)


def gated(tested: SignFlip, columns: Sequence[Column], roles: Sequence[Role], clusters: bool) -> list[Test]:
    gate = {
        column.run: p
        for column, role, p in zip(columns, roles, tested.corrected, strict=True)
        if role == "primary" and p is not None
    }
    tests = []
    for column, role, differing, p, corrected in zip(
        columns, roles, tested.differing, tested.p, tested.corrected, strict=True
    ):
        if role == "shown":
            tests.append(Test(differing, None, None, ONE[column.metric.name]))
            continue
        held = corrected if corrected is None or role == "primary" else max(corrected, gate.get(column.run, 1.0))
        tests.append(Test(differing, p, held, why_not(differing, clusters) if held is None else ""))
    return tests


def why_not(differing: int, clusters: bool) -> str:
    what = "clusters" if clusters else "cases"
    if not differing:
        return "no test: no case differs"
    if differing >= MINIMUM:
        return f"no test: fewer than {MINIMUM_OF_INTERVAL} {what}, or nothing varies"
    return f"no test: {differing} {what} differ, {MINIMUM} are needed"
