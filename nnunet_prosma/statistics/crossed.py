"""The mean difference of two arms that were trained several times: cases and trainings crossed, in closed form.

The value of case i by training r of an arm is  mean + case_i + training_r + rest_ir,  all but the mean random. Cases
are shared by both arms, trainings are not.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import stdtrit

from nnunet_prosma.statistics.studentised import LEVEL, Interval, standard_errors

SMALLEST = math.log(1e-15)


@dataclass(frozen=True)
class Crossed:
    """error: of the mean difference. parts: of its square, by cases and by trainings; freedom: of each part.

    from_trainings is all by which the trainings' means scatter on these cases, one part or one for each arm; from_cases
    is what the choice of cases adds to it. training_sd: of each arm's mean from training to training, over ever so many
    cases.
    """

    difference: float
    error: float
    parts: tuple[float, ...]
    freedom: tuple[float, ...]
    from_cases: float
    from_trainings: float
    training_sd: tuple[float, float]
    p: float

    def interval(self, level: float = LEVEL) -> Interval:
        half = float(half_widths(np.array(self.parts), np.array(self.freedom), 1 - level))
        return Interval(self.difference - half, self.difference + half, level)


def crossed(first: np.ndarray, second: np.ndarray, units: np.ndarray | None = None) -> Crossed | None:
    """first (trainings, cases), second (other trainings, the same cases); second minus first.

    Each arm has at least two trainings. units (cases,): cases of one unit count as one draw. None: nothing varies.
    """
    parts, freedom, sds = (found[..., 0] for found in error_parts(first[..., None], second[..., None], units))
    total = float(parts.sum())
    if total <= 1e-24:
        return None
    difference = float(second.mean() - first.mean())
    return Crossed(
        difference=difference,
        error=math.sqrt(total),
        parts=tuple(map(float, parts)),
        freedom=tuple(map(float, freedom)),
        from_cases=float(parts[0]),
        from_trainings=float(parts[1:].sum()),
        training_sd=(float(sds[0]), float(sds[1])),
        p=_p(difference, parts, freedom),
    )


def error_parts(
    first: np.ndarray, second: np.ndarray, units: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of K pairs of arms (trainings, cases, K) at once: parts and freedom (2 or 3, K) and training_sd (2, K).

    Arms that were trained equally often are one part, with Welch's degrees of freedom: that is narrow where both
    scatter alike. Else each is a part of its own: Banerjee (1960) showed that the interval then covers at whatever
    variances, while Welch's fails where the arm that was trained less often scatters more.
    """
    d = second.mean(0) - first.mean(0)
    n = len(d) if units is None else len(np.unique(units))
    counts = (len(first), len(second))
    variance, of_cases = np.swapaxes([_training_variances(arm) for arm in (first, second)], 0, 1)
    each = variance / np.array(counts)[:, None]
    cases = np.maximum(0.0, standard_errors(d, units) ** 2 - (of_cases / np.array(counts)[:, None]).sum(0))
    sds = np.sqrt(np.maximum(0.0, variance - of_cases))
    if counts[0] == counts[1]:
        parts, freedom = [cases, each.sum(0)], [_welch(each, counts[0] - 1)]
    else:
        parts, freedom = [cases, *each], [np.full_like(cases, count - 1) for count in counts]
    return np.array(parts), np.array([np.full_like(cases, n - 1), *freedom]), sds


def half_widths(parts: np.ndarray, freedom: np.ndarray, p: float) -> np.ndarray:
    """Student's half widths of the parts (P, ...), each with its own degrees of freedom, added as squares (Howe 1974).

    One t for their sum with degrees of freedom that are estimated calls up to 16 % of equal methods different: two
    trainings that lie close by chance would then hide that they scatter.
    """
    return np.sqrt((stdtrit(freedom, p / 2) ** 2 * parts).sum(0))


def _welch(parts: np.ndarray, freedom: int) -> np.ndarray:
    """Of the sum of two variances (2, K) that are known by the same degrees of freedom."""
    spread = (parts**2).sum(0)
    return np.where(spread > 0, freedom * parts.sum(0) ** 2 / np.where(spread > 0, spread, 1), freedom)


def _p(difference: float, parts: np.ndarray, freedom: np.ndarray) -> float:
    """The p-value: 1 minus the level of the interval that ends at 0."""
    if difference == 0:
        return 1.0

    def over(log_p: float) -> float:
        return float(half_widths(parts, freedom, math.exp(log_p))) - abs(difference)

    return 1e-15 if over(SMALLEST) < 0 else math.exp(brentq(over, SMALLEST, 0.0))


def _training_variances(arm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The variance of the trainings' means, and the part of it that the choice of cases makes; (K,) each."""
    rest = arm - arm.mean(0) - arm.mean(1, keepdims=True) + arm.mean((0, 1))
    cases = arm.shape[1]
    mean_square = (rest**2).sum((0, 1)) / ((len(arm) - 1) * max(1, cases - 1))
    return arm.mean(1).var(0, ddof=1), mean_square / cases
