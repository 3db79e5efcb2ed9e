"""Studentised bootstrap intervals of mean paired differences, for many columns at once.

The distribution of |mean* - mean| / se* over resamples of units takes the place of Student's t (Hall 1988, symmetric).
Why this one: see the simulations in docs/compare.md.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from nnunet_prosma.statistics.sign_flip import unit_sums

RESAMPLES = 9999
MINIMUM = 10
"""Fewer units (cases, or clusters of them) give no interval: below it, none holds its level on skewed differences."""
LEVEL = 0.95
AT_ONCE = 2_000_000


@dataclass(frozen=True)
class Interval:
    low: float
    high: float
    level: float = LEVEL


def mean_intervals(
    columns: np.ndarray,
    levels: Sequence[float],
    seed: int,
    units: np.ndarray | None = None,
    resamples: int = RESAMPLES,
) -> list[Interval | None]:
    """columns (cases, K): differences, NaN where a case does not count; units (cases,): what is drawn whole.

    The mean is over cases. None: fewer than MINIMUM units, all differences equal, or so few that differ that too many
    resamples have no spread at all.
    """
    counted = np.isfinite(columns)
    sums, sizes = unit_sums(np.where(counted, columns, 0.0), units), unit_sums(counted.astype(float), units)
    present = [sizes[:, k] > 0 for k in range(columns.shape[1])]
    found: list[Interval | None] = [None] * columns.shape[1]
    lengths = [int(p.sum()) for p in present]
    usable = [k for k in range(len(found)) if lengths[k] >= MINIMUM and np.ptp(columns[counted[:, k], k]) > 1e-12]
    for n in sorted({lengths[k] for k in usable}):
        group = [k for k in usable if lengths[k] == n]
        total = np.array([sums[present[k], k] for k in group]).T
        size = np.array([sizes[present[k], k] for k in group]).T
        means = total.sum(0) / size.sum(0)
        residuals = total - means * size
        errors = np.sqrt(n / (n - 1) * (residuals**2).sum(0)) / size.sum(0)
        drawn = np.sort(np.concatenate(list(_statistics(residuals, size, seed, resamples))), axis=0)
        for place, k in enumerate(group):
            rank = int(np.ceil(levels[k] * (resamples + 1))) - 1
            limit = drawn[rank, place] if rank < resamples else np.inf
            half = limit * errors[place]
            if np.isfinite(half):
                found[k] = Interval(float(means[place] - half), float(means[place] + half), levels[k])
    return found


def standard_error(differences: np.ndarray, units: np.ndarray | None = None) -> float | None:
    """The standard error of the mean over cases, where units are drawn whole; None below two units."""
    error = float(standard_errors(differences[:, None], units)[0])
    return error if np.isfinite(error) else None


def standard_errors(columns: np.ndarray, units: np.ndarray | None = None) -> np.ndarray:
    """That of each column (cases, K); NaN below two units."""
    sums = unit_sums(columns, units)
    sizes = unit_sums(np.ones((len(columns), 1)), units)
    n = len(sums)
    if n < 2:
        return np.full(columns.shape[1], np.nan)
    residuals = sums - columns.mean(0) * sizes
    return np.asarray(np.sqrt(n / (n - 1) * (residuals**2).sum(0)) / len(columns))


def _statistics(residuals: np.ndarray, size: np.ndarray, seed: int, resamples: int) -> Iterator[np.ndarray]:
    """|mean*| / se* of each resample of the residuals; infinite where a resample has a mean but no spread."""
    n = len(residuals)
    rng = np.random.default_rng([seed, n])
    single = bool((size == 1).all())
    smallest = 1e-12 * (residuals**2).sum(0)
    step = max(1, AT_ONCE // n)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = rng.integers(0, n, (rows, n)) + n * np.arange(rows)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n).astype(float)
        total, squares = weights @ residuals, weights @ residuals**2
        cases: np.ndarray | float = float(n)
        if single:
            variation = squares - total**2 / n
        else:
            cases = weights @ size
            mean = total / cases
            variation = squares - 2 * mean * (weights @ (residuals * size)) + mean**2 * (weights @ size**2)
        error = np.sqrt(n / (n - 1) * np.maximum(variation, 0))
        flat = variation <= smallest
        with np.errstate(divide="ignore", invalid="ignore"):
            value = np.abs(total) / error
        yield np.where(flat, np.where(total**2 <= smallest, 0.0, np.inf), value)
