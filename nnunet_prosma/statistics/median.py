"""The distribution-free interval of a median: two of the ordered values, by the binomial distribution."""

import numpy as np
from scipy import stats

from nnunet_prosma.statistics.studentised import LEVEL, MINIMUM, Interval


def median_interval(sample: np.ndarray, level: float = LEVEL) -> Interval | None:
    """Covers the median with at least `level`, whatever the distribution; None below MINIMUM values."""
    n = len(sample)
    if n < MINIMUM:
        return None
    rank = int(stats.binom.ppf((1 - level) / 2, n, 0.5))
    """The most values that may lie below the interval: P(fewer than rank of n below the median) <= (1 - level) / 2."""
    ordered = np.sort(sample)
    return Interval(float(ordered[rank - 1]), float(ordered[n - rank]), level)
