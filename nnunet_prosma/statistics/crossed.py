"""The mean difference of two arms that were trained several times: cases and trainings crossed, in closed form.

The value of case i by training r of an arm is  mean + case_i + training_r + rest_ir,  all but the mean random. Cases
are shared by both arms, trainings are not.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from nnunet_prosma.statistics.studentised import LEVEL, Interval, standard_error


@dataclass(frozen=True)
class Crossed:
    """error: of the mean difference. from_cases, from_trainings: their parts of its square.

    training_sd: of each arm's mean from training to training, over ever so many cases.
    """

    difference: float
    error: float
    freedom: float
    from_cases: float
    from_trainings: float
    training_sd: tuple[float, float]
    p: float

    def interval(self, level: float = LEVEL) -> Interval:
        half = float(stats.t.ppf((1 + level) / 2, self.freedom)) * self.error
        return Interval(self.difference - half, self.difference + half, level)


def crossed(first: np.ndarray, second: np.ndarray, units: np.ndarray | None = None) -> Crossed | None:
    """first (trainings, cases), second (other trainings, the same cases); second minus first.

    Each arm has at least two trainings. Student's t with Satterthwaite's degrees of freedom. units (cases,): cases of
    one unit count as one draw. None: nothing varies.
    """
    d = second.mean(0) - first.mean(0)
    cases = (standard_error(d, units) or 0.0) ** 2
    n = len(d) if units is None else len(np.unique(units))
    arms = [(*_training_variance(arm), len(arm)) for arm in (first, second)]
    trainings = sum(max(0.0, variance - of_cases) / count for variance, of_cases, count in arms)
    freedom = sum((variance / count) ** 2 / (count - 1) for variance, _, count in arms)
    total = cases + trainings
    if total <= 1e-24:
        return None
    freedom = total**2 / (cases**2 / (n - 1) + freedom)
    p = float(2 * stats.t.sf(abs(float(d.mean())) / np.sqrt(total), freedom))
    sds = tuple(float(np.sqrt(max(0.0, variance - of_cases))) for variance, of_cases, _ in arms)
    return Crossed(float(d.mean()), float(np.sqrt(total)), freedom, cases, trainings, (sds[0], sds[1]), p)


def _training_variance(arm: np.ndarray) -> tuple[float, float]:
    """The variance of the trainings' means, and the part of it that the choice of cases makes."""
    rest = arm - arm.mean(0) - arm.mean(1, keepdims=True) + arm.mean()
    cases = arm.shape[1]
    mean_square = float((rest**2).sum()) / ((len(arm) - 1) * max(1, cases - 1))
    return float(arm.mean(1).var(ddof=1)), mean_square / cases
