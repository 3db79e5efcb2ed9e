"""Wilcoxon's signed-rank test of paired differences, exact where it can be, and Holm's correction."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

MINIMUM = 6
"""Fewest pairs for a test. With five the smallest two-sided p-value is 2 / 2^5 = 0.06: no result could reach 5 %."""
ENUMERABLE = 13
"""Pairs up to which all 2^n signs are enumerated where ties rule out the tabulated distribution."""
DIGITS = 12
"""Differences are ranked after rounding to so many decimals, so that equal ones tie whatever the arithmetic."""


@dataclass(frozen=True)
class SignedRank:
    """p is None where there is no test, and method says why. n: pairs that differ."""

    n: int
    statistic: float | None
    p: float | None
    method: str


def signed_rank(differences: np.ndarray) -> SignedRank:
    """Two-sided. Pairs without a difference are left out, as Wilcoxon did."""
    d = np.round(differences, DIGITS)
    d = d[d != 0]
    n = len(d)
    if n == 0:
        return SignedRank(n, None, None, "no test: no case differs")
    if n < MINIMUM:
        return SignedRank(n, None, None, f"no test: {n} cases differ, {MINIMUM} are needed")
    ties = len(np.unique(np.abs(d))) < n
    if not ties and n <= 50:
        result = stats.wilcoxon(d, method="exact")
        method = "exact"
    elif n <= ENUMERABLE:
        result = stats.wilcoxon(d, method=stats.PermutationMethod(n_resamples=2**ENUMERABLE + 1))
        method = "exact, all signs enumerated"
    else:
        result = stats.wilcoxon(d, method="asymptotic", correction=True)
        method = "normal approximation"
    return SignedRank(n, float(result.statistic), min(1.0, float(result.pvalue)), method)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down adjusted p-values; None, where there was no test, is no member of the family."""
    tested = [i for i, p in enumerate(p_values) if p is not None]
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, i in enumerate(sorted(tested, key=lambda i: p_values[i] or 0.0)):
        largest = max(largest, (len(tested) - rank) * (p_values[i] or 0.0))
        adjusted[i] = min(1.0, largest)
    return adjusted
