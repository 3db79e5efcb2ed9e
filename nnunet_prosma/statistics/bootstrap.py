"""95 % BCa bootstrap intervals of the mean and the median of paired differences, for many columns at once.

scipy makes the interval; what is done here is to draw the bootstrap distributions fast. All columns of one length share
their resamples. The distribution of the median needs none: the k-th smallest of n uniform draws has a Beta
distribution, and the resample's k-th smallest value is the sorted value on which it falls.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from scipy import stats

RESAMPLES = 9999
MINIMUM = 10
"""Fewer cases give no interval: below it, BCa covers the truth too rarely (measured in docs/compare.md)."""
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    low: float
    high: float
    method: str


def intervals(
    columns: Sequence[np.ndarray], seed: int, resamples: int = RESAMPLES
) -> list[tuple[Interval | None, Interval | None]]:
    """For each column of differences the intervals of its mean and of its median; None where there can be none."""
    found: list[tuple[Interval | None, Interval | None]] = [(None, None)] * len(columns)
    usable = [i for i, d in enumerate(columns) if len(d) >= MINIMUM and np.ptp(d) > 0]
    for n in sorted({len(columns[i]) for i in usable}):
        group = [i for i in usable if len(columns[i]) == n]
        means = mean_distributions(np.array([columns[i] for i in group]), np.random.default_rng([seed, n]), resamples)
        for i, distribution in zip(group, means, strict=True):
            ordered = np.sort(columns[i])
            medians = median_distribution(ordered, np.random.default_rng([seed, n, 1]), resamples)
            found[i] = (bca(columns[i], distribution, np.mean), bca(ordered, medians, np.median))
    return found


def mean_distributions(columns: np.ndarray, rng: np.random.Generator, resamples: int) -> np.ndarray:
    """(columns, n) -> (columns, resamples): the mean of each resample, the same cases in all columns."""
    n = columns.shape[1]
    means = np.empty((len(columns), resamples))
    for start, rows in _batches(resamples, max(1, 1_000_000 // n)):
        drawn = rng.integers(0, n, (rows, n))
        for column, mean in zip(columns, means, strict=True):
            mean[start : start + rows] = np.take(column, drawn).mean(1)
    return means


def median_distribution(ordered: np.ndarray, rng: np.random.Generator, resamples: int) -> np.ndarray:
    """(n,) sorted -> (resamples,): the median of each of so many resamples."""
    n = len(ordered)
    k = (n + 1) // 2
    lower = rng.beta(k, n - k + 1, resamples)
    if n % 2:
        return ordered[(lower * n).astype(int).clip(max=n - 1)]
    upper = lower + (1 - lower) * rng.beta(1, n - k, resamples)
    picked = [ordered[(u * n).astype(int).clip(max=n - 1)] for u in (lower, upper)]
    return (picked[0] + picked[1]) / 2


def bca(sample: np.ndarray, distribution: np.ndarray, statistic: Any, level: float = LEVEL) -> Interval:
    """scipy's BCa interval from a bootstrap distribution; where ties leave it undefined, percentiles, and so named."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        for method in ("BCa", "percentile"):
            low, high = stats.bootstrap(
                (sample,),
                statistic,
                n_resamples=0,
                batch=max(1, 1_000_000 // len(sample)),
                confidence_level=level,
                method=method,
                bootstrap_result=SimpleNamespace(bootstrap_distribution=distribution),
            ).confidence_interval
            if np.isfinite(low) and np.isfinite(high):
                break
    return Interval(float(low), float(high), method)


def _batches(total: int, size: int) -> Iterator[tuple[int, int]]:
    for start in range(0, total, size):
        yield start, min(size, total - start)
