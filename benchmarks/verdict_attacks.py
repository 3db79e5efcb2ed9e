"""Attacks on the verdict of nnunet-prosma compare: nulls that benchmarks/verdict_simulation.py does not draw.

    OMP_NUM_THREADS=1 python benchmarks/verdict_attacks.py [--repeats 5000] [--write docs/compare.md]

In each null no run is better than another, and the signs of a case's (or a cluster's) differences are as likely one way
as the other. The last table is of what lies outside of that, where the verdict promises nothing.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from verdict_repeats import report as of_methods
from verdict_simulation import AT_ONCE, CLUSTERS, DRAWN, LABELS, Draw, difficulty, false_reports
from verdict_table import percent, show, table, versions

from nnunet_prosma.statistics.sign_flip import sign_flip
from nnunet_prosma.statistics.studentised import mean_intervals


def copies(rng: np.random.Generator, runs: int, cases: int) -> np.ndarray:
    """The candidates are nearly one run, the baseline is another."""
    own = rng.normal(0, 0.04, (2, cases, LABELS))
    which = np.minimum(np.arange(runs), 1)
    return difficulty(rng, cases) + own[which] + rng.normal(0, 0.002, (runs, cases, LABELS))


def unequal(rng: np.random.Generator, runs: int, cases: int) -> np.ndarray:
    """Each run scatters twice as much as the one before."""
    return difficulty(rng, cases) + 0.01 * 2.0 ** np.arange(runs)[:, None, None] * rng.normal(
        size=(runs, cases, LABELS)
    )


def ceiling(rng: np.random.Generator, runs: int, cases: int) -> np.ndarray:
    """Most values are 1, the rest have a tail below."""
    return np.minimum(1, 0.99 + 0.02 * rng.standard_t(3, (runs, cases, LABELS)))


def equal(rng: np.random.Generator, runs: int, cases: int) -> np.ndarray:
    """Nine of ten values are the same in all runs, the others differ by anything."""
    changed = rng.random((runs, cases, LABELS)) < 0.05
    return np.clip(difficulty(rng, cases) + changed * 0.05 * rng.standard_cauchy(changed.shape), 0, 1)


def three_values(rng: np.random.Generator, runs: int, cases: int) -> np.ndarray:
    return np.asarray(rng.choice([0, 0.5, 1], p=[0.1, 0.2, 0.7], size=(runs, cases, LABELS)))


def zeros(rng: np.random.Generator, runs: int, cases: int) -> np.ndarray:
    """Six of ten are 0 in every run, and each run misses one in five of the others."""
    never = rng.random((1, cases, LABELS)) < 0.6
    found = rng.random((runs, cases, LABELS)) > 0.2
    return np.where(never | ~found, 0, difficulty(rng, cases) + rng.normal(0, 0.02, found.shape))


def outlier(rng: np.random.Generator, runs: int, cases: int) -> np.ndarray:
    """In one case one run fails altogether."""
    dice = np.repeat(difficulty(rng, cases), runs, 0) + rng.normal(0, 0.01, (runs, cases, LABELS))
    dice[rng.integers(runs), rng.integers(cases)] = 0
    return np.asarray(dice)


def steps(rng: np.random.Generator, runs: int, cases: int) -> np.ndarray:
    """A case is won or lost, always by 0.05."""
    return 0.8 + 0.05 * rng.integers(0, 2, (runs, cases, 1)) + np.zeros(LABELS)


def cauchy(rng: np.random.Generator, runs: int, cases: int) -> np.ndarray:
    return 0.01 * rng.standard_cauchy((runs, cases, LABELS))


NULLS: dict[str, Draw] = {
    "candidates nearly copies of each other": copies,
    "each run scatters twice the last": unequal,
    "ceiling at 1, tail below": ceiling,
    "nine of ten equal, others by anything": equal,
    "0, 0.5 or 1": three_values,
    "60 % zeros, 20 % misses": zeros,
    "one run fails in one case": outlier,
    "won or lost by 0.05": steps,
    "Cauchy": cauchy,
}

Sizes = Callable[[np.random.Generator, int], np.ndarray]
SIZES: dict[str, Sizes] = {
    "one holds half of all cases": lambda rng, n: np.array([2 * n, *[2] * (n - 1)]),
    "two of three are single cases": lambda rng, n: np.where(rng.random(n) < 0.67, 1, 20),
    "lognormal, larger ones differ more": lambda rng, n: np.ceil(rng.lognormal(1, 1, n)).astype(int),
}


def false_by_cluster(sizes: Sizes, runs: int, clusters: int, repeats: int) -> float:
    """Heavy tails in what clusters share, which large ones have more of; signs flip by cluster."""
    rng, false = np.random.default_rng([clusters, runs]), 0
    others = runs - 1
    for start in range(0, repeats, AT_ONCE):
        size = sizes(rng, clusters)
        units = np.repeat(np.arange(clusters), size)
        shared = np.sqrt(size)[:, None, None] * 0.02 * rng.standard_t(3, (clusters, AT_ONCE, runs))
        dice = shared[units] + rng.normal(0, 0.03, (len(units), AT_ONCE, runs))
        columns = (dice[..., 1:] - dice[..., :1]).reshape(len(units), -1)
        families = [range(r * others, (r + 1) * others) for r in range(AT_ONCE)]
        p = sign_flip(columns, start, families, units, flips=DRAWN).corrected
        found = mean_intervals(columns, [1 - 0.05 / others] * columns.shape[1], start, units, resamples=DRAWN)
        claims = [
            q is not None and q < 0.05 and i is not None and not i.low <= 0 <= i.high
            for q, i in zip(p, found, strict=True)
        ]
        false += int(np.array(claims).reshape(AT_ONCE, -1).any(1).sum())
    return false / repeats


def trained_once(rng: np.random.Generator, runs: int, cases: int) -> np.ndarray:
    """Methods that are the same, but a training shifts all cases."""
    return difficulty(rng, cases) + rng.normal(0, 0.01, (runs, 1, 1)) + rng.normal(0, 0.05, (runs, cases, LABELS))


def ceiling_of_one(rng: np.random.Generator, runs: int, cases: int) -> np.ndarray:
    """The same mean, but the baseline is steady and others are mostly 1 and sometimes 0."""
    risky = (rng.random((runs, cases, 1)) < 0.95) + np.zeros(LABELS)
    risky[0] = 0.95 + rng.normal(0, 0.01, (cases, LABELS))
    return np.asarray(risky)


OUTSIDE: dict[str, Draw] = {
    "a training shifts all cases (SD 0.01), each trained once": trained_once,
    "equal means, but others are 1 or, in 5 %, 0": ceiling_of_one,
}


def report(repeats: int) -> Iterator[str]:
    def reports(rows: dict[str, Draw]) -> Iterator[str]:
        return table(
            "Dice is", rows, lambda name, cases, runs: percent(*false_reports(rows[name], runs, cases, repeats))
        )

    yield f"{repeats:,} simulated reports in each cell; {versions()}."
    yield ""
    yield "False reports in %: a verdict of better or worse / that, or a corrected p below 5 % in any cell."
    yield ""
    yield from reports(NULLS)
    yield ""
    yield "By cluster (`--cluster`), whose size is unequal: false verdicts in %."
    yield ""
    yield from table(
        "clusters",
        SIZES,
        lambda name, clusters, runs: percent(false_by_cluster(SIZES[name], runs, clusters, repeats)),
        "number",
        CLUSTERS,
    )
    yield ""
    yield from of_methods(4 * repeats)  # which takes less time than the others
    yield ""
    yield "Outside of what the verdict promises, false reports in % as above."
    yield ""
    yield from reports(OUTSIDE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5000, help=f"a multiple of {AT_ONCE}")
    parser.add_argument("--write", type=Path, metavar="DOCUMENT")
    options = parser.parse_args()
    show(report(options.repeats), Path(__file__).name, options.write)


if __name__ == "__main__":
    main()
