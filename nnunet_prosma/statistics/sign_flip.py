"""The sign-flip test of mean paired differences, and its p-values corrected over many comparisons (max-T).

If two runs are exchangeable within a case, each of its differences is as likely with one sign as with the other. The
test draws the signs anew, the same ones for all columns, and asks how often the mean lies as far from 0 as it does.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

MINIMUM = 6
"""Fewest units for a test. With five the smallest two-sided p-value is 2 / 2^5 = 0.06: no result could reach 5 %."""
FLIPS = 9999
DIGITS = 12
"""Differences are rounded to so many decimals, so that equal ones tie whatever the arithmetic."""
AT_ONCE = 2_000_000


@dataclass(frozen=True)
class SignFlip:
    """The result of each column: units that differ, p, and p corrected over all columns; None where fewer than
    MINIMUM differ."""

    differing: list[int]
    p: list[float | None]
    corrected: list[float | None]
    exact: bool


def sign_flip(
    columns: np.ndarray,
    seed: int,
    families: Sequence[Sequence[int]] | None = None,
    units: np.ndarray | None = None,
    flips: int = FLIPS,
) -> SignFlip:
    """columns (cases, K): differences, NaN where a case does not count; units (cases,): what flips together.

    families: columns that are corrected over each other, by their indices; all of them if it is not given.
    Two-sided. The statistic is |sum| / root of the sum of squares over units, which orders flips as Student's t does.
    Step-down max-T (Westfall and Young): the largest statistic is held against the largest of all columns, the next
    against the largest of the rest. All 2^units signs are enumerated where they are no more than `flips`.
    """
    sums = unit_sums(np.round(np.nan_to_num(columns), DIGITS), units)
    differing = (sums != 0).sum(0)
    tested = np.flatnonzero(differing >= MINIMUM)
    sums = sums[:, tested]
    sums = sums[(sums != 0).any(1)]
    scaled = sums / np.sqrt((sums**2).sum(0))
    observed = np.abs(scaled.sum(0))
    limit = observed * (1 - 1e-10)
    place = {int(k): i for i, k in enumerate(tested)}
    groups = [[place[k] for k in family if k in place] for family in families or [range(columns.shape[1])]]
    orders = [np.array(sorted(group, key=lambda i: -observed[i]), dtype=int) for group in groups]
    alone, together, total = np.zeros(len(tested)), np.zeros(len(tested)), 0
    exact = 2 ** max(0, len(scaled) - 1) <= flips + 1
    for signs in _all_signs(len(scaled)) if exact else _drawn_signs(len(scaled), flips, seed):
        statistics = np.abs(signs @ scaled)
        alone += (statistics >= limit).sum(0)
        for order in orders:
            largest = np.maximum.accumulate(statistics[:, order[::-1]], axis=1)[:, ::-1]
            together[order] += (largest >= limit[order]).sum(0)
        total += len(signs)
    p: list[float | None] = [None] * columns.shape[1]
    corrected = list(p)
    for order in orders:
        for i, stepped in zip(order, np.maximum.accumulate(together[order] / total), strict=True):
            p[tested[i]], corrected[tested[i]] = float(alone[i] / total), float(stepped)
    return SignFlip([int(n) for n in differing], p, corrected, exact)


def unit_sums(columns: np.ndarray, units: np.ndarray | None) -> np.ndarray:
    """(cases, K) -> (units, K), in the order of the units' names."""
    if units is None:
        return columns
    _, place = np.unique(units, return_inverse=True)
    sums = np.zeros((place.max(initial=-1) + 1, columns.shape[1]))
    np.add.at(sums, place, columns)
    return sums


def _all_signs(n: int) -> Iterator[np.ndarray]:
    """Each choice of signs up to its mirror image, which has the same statistic."""
    total = 2 ** max(0, n - 1)
    for start in range(0, total, max(1, AT_ONCE // max(1, n))):
        chosen = np.arange(start, min(total, start + max(1, AT_ONCE // max(1, n))))
        yield 1.0 - 2.0 * ((chosen[:, None] >> np.arange(n)) & 1)


def _drawn_signs(n: int, flips: int, seed: int) -> Iterator[np.ndarray]:
    """The signs as they are, then drawn ones."""
    rng = np.random.default_rng([seed, n])
    yield np.ones((1, n))
    step = max(1, AT_ONCE // n)
    for start in range(0, flips, step):
        rows = min(step, flips - start)
        bits = np.unpackbits(np.frombuffer(rng.bytes(rows * (-(-n // 8))), np.uint8).reshape(rows, -1), axis=1)
        yield 1.0 - 2.0 * bits[:, :n]
