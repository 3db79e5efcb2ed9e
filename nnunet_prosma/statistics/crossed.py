"""The mean difference of two arms that were trained several times: cases and trainings crossed, in closed form.

The value of case i by training r of an arm is  mean + case_i + training_r + rest_ir,  all but the mean random. Cases
are shared by both arms, trainings are not.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import stdtrit

from nnunet_prosma.statistics.studentised import LEVEL, Interval, standard_error

SMALLEST = math.log(1e-15)


@dataclass(frozen=True)
class Crossed:
    """error: of the mean difference. from_cases, from_trainings: the parts of its square; freedom: of each part.

    from_trainings is all by which the trainings' means scatter on these cases; from_cases is what the choice of cases
    adds to it. training_sd: of each arm's mean from training to training, over ever so many cases.
    """

    difference: float
    error: float
    freedom: tuple[float, float]
    from_cases: float
    from_trainings: float
    training_sd: tuple[float, float]
    p: float

    def interval(self, level: float = LEVEL) -> Interval:
        half = _half(self.from_cases, self.from_trainings, self.freedom, 1 - level)
        return Interval(self.difference - half, self.difference + half, level)


def crossed(first: np.ndarray, second: np.ndarray, units: np.ndarray | None = None) -> Crossed | None:
    """first (trainings, cases), second (other trainings, the same cases); second minus first.

    Each arm has at least two trainings. units (cases,): cases of one unit count as one draw. None: nothing varies.
    The half widths of the two parts, each Student's with its own degrees of freedom, are added as squares (Howe 1974).
    One t for their sum with degrees of freedom that are estimated calls up to 16 % of equal methods different: two
    trainings that lie close by chance would then hide that they scatter.
    """
    d = second.mean(0) - first.mean(0)
    n = len(d) if units is None else len(np.unique(units))
    arms = [(*_training_variance(arm), len(arm)) for arm in (first, second)]
    each = [variance / count for variance, _, count in arms]
    trainings = sum(each)
    cases = max(0.0, (standard_error(d, units) or 0.0) ** 2 - sum(of_cases / count for _, of_cases, count in arms))
    if cases + trainings <= 1e-24:
        return None
    freedom = (n - 1.0, _welch(each, [count - 1 for *_, count in arms]))
    sds = tuple(float(np.sqrt(max(0.0, variance - of_cases))) for variance, of_cases, _ in arms)
    difference, error = float(d.mean()), float(np.sqrt(cases + trainings))
    p = _p(difference, cases, trainings, freedom)
    return Crossed(difference, error, freedom, cases, trainings, (sds[0], sds[1]), p)


def _welch(parts: Sequence[float], freedom: Sequence[int]) -> float:
    """Of the sum of two variances; no more than if both were known by the smaller degrees of freedom."""
    spread = sum(part**2 / f for part, f in zip(parts, freedom, strict=True))
    return min(2.0 * min(freedom), sum(parts) ** 2 / spread) if spread > 0 else float(min(freedom))


def _half(cases: float, trainings: float, freedom: tuple[float, float], p: float) -> float:
    t = stdtrit(freedom, p / 2)
    return float(np.sqrt(t[0] ** 2 * cases + t[1] ** 2 * trainings))


def _p(difference: float, cases: float, trainings: float, freedom: tuple[float, float]) -> float:
    """1 minus the level of the interval that ends at 0."""
    if difference == 0:
        return 1.0

    def over(log_p: float) -> float:
        return _half(cases, trainings, freedom, math.exp(log_p)) - abs(difference)

    return 1e-15 if over(SMALLEST) < 0 else math.exp(brentq(over, SMALLEST, 0.0))


def _training_variance(arm: np.ndarray) -> tuple[float, float]:
    """The variance of the trainings' means, and the part of it that the choice of cases makes."""
    rest = arm - arm.mean(0) - arm.mean(1, keepdims=True) + arm.mean()
    cases = arm.shape[1]
    mean_square = float((rest**2).sum()) / ((len(arm) - 1) * max(1, cases - 1))
    return float(arm.mean(1).var(ddof=1)), mean_square / cases
