"""One effect over several data sets, each with its own true value: Hartung-Knapp, and a prediction interval."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from nnunet_prosma.statistics.studentised import LEVEL, Interval


@dataclass(frozen=True)
class RandomEffects:
    """between: the variance of true values between data sets (Paule and Mandel). prediction: of one more data set."""

    mean: float
    error: float
    between: float
    interval: Interval
    prediction: Interval | None


def random_effects(estimates: Sequence[float], errors: Sequence[float], level: float = LEVEL) -> RandomEffects:
    """errors: standard errors, larger than 0, of at least two estimates.

    The interval is Hartung and Knapp's, never narrower than with weights that are known (q at least 1). The prediction
    interval (Higgins, Thompson and Spiegelhalter) needs three data sets.
    """
    y, v = np.asarray(estimates, float), np.asarray(errors, float) ** 2
    k = len(y)
    assert k >= 2
    assert (v > 0).all()
    between = paule_mandel(y, v)
    weights = 1 / (v + between)
    mean = float(weights @ y / weights.sum())
    q = max(1.0, float(weights @ (y - mean) ** 2) / (k - 1))
    error = float(np.sqrt(q / weights.sum()))
    half = float(stats.t.ppf((1 + level) / 2, k - 1)) * error
    prediction = None
    if k > 2:
        wide = float(stats.t.ppf((1 + level) / 2, k - 2)) * float(np.sqrt(between + error**2))
        prediction = Interval(mean - wide, mean + wide, level)
    return RandomEffects(mean, error, between, Interval(mean - half, mean + half, level), prediction)


def paule_mandel(y: np.ndarray, v: np.ndarray) -> float:
    """The variance between data sets at which the weighted squares are what they must be, k - 1; 0 if they are less."""

    def excess(between: float) -> float:
        weights = 1 / (v + between)
        return float(weights @ (y - weights @ y / weights.sum()) ** 2) - (len(y) - 1)

    if excess(0.0) <= 0:
        return 0.0
    return float(optimize.brentq(excess, 0.0, 10 * float(np.ptp(y)) ** 2 + float(v.max()), xtol=1e-14))
