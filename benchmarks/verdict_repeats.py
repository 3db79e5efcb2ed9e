"""Methods that were trained several times: how often they are called different where they are not, and where they are.

A part of benchmarks/verdict_attacks.py.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from verdict_table import CASES, RUNS, percent, table

from nnunet_prosma.statistics.crossed import error_parts, half_widths

AT_ONCE = 100
Scatter = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(rng.normal(0, 0.01, shape))


def heavy(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(0.006 * rng.standard_t(3, shape))


def none(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return np.zeros(shape)


@dataclass(frozen=True)
class Trained:
    """Trainings of the baseline and of each other method, how much their trainings scatter, and how."""

    baseline: int
    others: int
    baselines_scatter: float = 1
    others_scatter: float = 1
    scatter: Scatter = normal


REPEATED = {
    "2 trainings each": Trained(2, 2),
    "3 trainings each": Trained(3, 3),
    "2 each, heavy tails": Trained(2, 2, scatter=heavy),
    "2 each, which do not scatter": Trained(2, 2, scatter=none),
    "2 each, the others' scatter 4 times": Trained(2, 2, others_scatter=4),
    "3 each, the others' scatter 4 times": Trained(3, 3, others_scatter=4),
    "3 each, the baseline's scatter 4 times": Trained(3, 3, baselines_scatter=4),
    "2 each, the others' scatter 16 times": Trained(2, 2, others_scatter=16),
    "3 of the baseline, 2 of others": Trained(3, 2),
    "5 of the baseline, 2 of others": Trained(5, 2),
    "3 of the baseline, 2 of others, which scatter 4 times": Trained(3, 2, others_scatter=4),
    "5 of the baseline, 2 of others, which scatter 4 times": Trained(5, 2, others_scatter=4),
    "5 of the baseline, 3 of others, which scatter 4 times": Trained(5, 3, others_scatter=4),
    "10 of the baseline, 2 of others, which scatter 16 times": Trained(10, 2, others_scatter=16),
    "2 of the baseline, which scatter 4 times, 5 of others": Trained(2, 5, baselines_scatter=4),
    "5 of the baseline, which scatter 4 times, 2 of others": Trained(5, 2, baselines_scatter=4),
}


def claims(trained: Trained, arms: int, cases: int, repeats: int, gain: float = 0) -> float:
    """The share of reports that call any method different from the baseline.

    p below 5 % by Holm's method and an interval by Bonferroni's that is clear of 0 are both there just where the
    interval is: the half width decides.
    """
    rng, called = np.random.default_rng([cases, arms]), 0
    for _ in range(0, repeats, AT_ONCE):
        values = []
        for arm in range(arms):
            count, factor = (
                (trained.others, trained.others_scatter) if arm else (trained.baseline, trained.baselines_scatter)
            )
            own = rng.normal(0, 0.02, (cases, AT_ONCE))  # a method is better in some cases, worse in others
            shift = factor * trained.scatter(rng, (count, 1, AT_ONCE))
            values.append(own + shift + 0.01 * rng.standard_t(3, (count, cases, AT_ONCE)) + gain * (arm > 0))
        clear = []
        for other in values[1:]:
            parts, freedom, _ = error_parts(values[0], other)
            difference = other.mean((0, 1)) - values[0].mean((0, 1))
            clear.append(np.abs(difference) > half_widths(parts, freedom, 0.05 / (arms - 1)))
        called += int(np.any(clear, axis=0).sum())
    return called / repeats


GAIN = 0.02
COUNTS = {f"{a} and {b}": (a, b) for a, b in ((2, 2), (3, 2), (5, 2), (3, 3), (5, 3), (5, 5))}
SPREADS = {1: "SD 0.001", 3: "0.003", 10: "0.01", 20: "0.02"}
"""SD between trainings in thousandths."""


def report(repeats: int) -> Iterator[str]:
    yield f"Methods that were trained several times: false verdicts in %, {repeats:,} simulated reports in each cell."
    yield ""
    yield from table(
        "trainings",
        REPEATED,
        lambda name, cases, arms: percent(claims(REPEATED[name], arms, cases, repeats)),
        columns={arms: f"{arms} methods" for arms in RUNS},
    )
    yield ""
    yield (
        f"Power: two methods that differ by {GAIN} on average, and by SD 0.028 from case to case. How often they are "
        "called different, in %, by the SD between trainings."
    )
    yield ""
    yield from table(
        "trainings",
        COUNTS,
        lambda name, cases, sd: percent(claims(Trained(*COUNTS[name], sd / 10, sd / 10), 2, cases, repeats, GAIN)),
        sizes=CASES,
        columns=SPREADS,
    )
