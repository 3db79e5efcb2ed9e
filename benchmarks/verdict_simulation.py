"""How often a report of nnunet-prosma compare says better or worse where there is no difference, how often its
intervals cover the truth, and how often it sees a difference that there is.

    OMP_NUM_THREADS=1 python benchmarks/verdict_simulation.py [--clusters] [--repeats 5000] [--write docs/compare.md]

Every report has three labels and is judged by the functions and rules of the command, with fewer resamples and signs.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from scipy.stats import t as student_t
from verdict_table import CASES, percent, show, table, versions

from nnunet_prosma.statistics.sign_flip import sign_flip
from nnunet_prosma.statistics.studentised import mean_intervals

AT_ONCE = 100
"""Reports that share their resamples and signs."""
CLUSTERS = (10, 20, 30)
LABELS = 3
DRAWN = 999
"""Resamples and signs of each simulated report; the command draws 9,999."""
Draw = Callable[[np.random.Generator, int, int], np.ndarray]
"""(rng, runs, cases) -> Dice (runs, cases, LABELS)."""


def difficulty(rng: np.random.Generator, cases: int) -> np.ndarray:
    """Of the labels of a case, which resemble each other."""
    return np.clip(rng.beta(8, 1.5, (1, cases, 1)) + rng.normal(0, 0.03, (1, cases, LABELS)), 0, 1)


def smooth(rng: np.random.Generator, runs: int, cases: int) -> np.ndarray:
    own = rng.normal(0, 0.03, (runs, cases, 1)) + rng.normal(0, 0.02, (runs, cases, LABELS))
    return np.clip(difficulty(rng, cases) + own, 0, 1)


def ties(rng: np.random.Generator, runs: int, cases: int) -> np.ndarray:
    """Most differences 0, few large; rounded."""
    changed = rng.random((runs, cases, LABELS)) < 0.3
    return np.round(np.clip(difficulty(rng, cases) + changed * 0.03 * rng.standard_t(2, changed.shape), 0, 1), 2)


def misses(rng: np.random.Generator, runs: int, cases: int) -> np.ndarray:
    found = rng.random((runs, cases, LABELS)) > 0.06
    return np.where(found, np.clip(difficulty(rng, cases) + rng.normal(0, 0.02, found.shape), 0, 1), 0)


def skewed(rng: np.random.Generator, runs: int, cases: int) -> np.ndarray:
    """Every run fails badly in some cases, each in its own."""
    loss = 0.03 * rng.exponential(1, (runs, cases, 1)) ** 2 + 0.01 * rng.exponential(1, (runs, cases, LABELS))
    return np.clip(difficulty(rng, cases) - loss, 0, 1)


def uneven(rng: np.random.Generator, runs: int, cases: int) -> np.ndarray:
    """In some cases all runs scatter eight times as much."""
    scatter = np.where(rng.random((1, cases, 1)) < 0.15, 0.16, 0.02)
    return difficulty(rng, cases) + scatter * rng.normal(0, 1, (runs, cases, LABELS))


NULLS: dict[str, Draw] = {
    "smooth": smooth,
    "zeros, ties, heavy tails": ties,
    "misses (6 %)": misses,
    "skewed": skewed,
    "scatter differs between cases": uneven,
}
DIFFERENCES: dict[str, tuple[Callable[[np.random.Generator, int], np.ndarray], float]] = {
    "+0.02 in all, SD 0.05": (lambda rng, n: rng.normal(0.02, 0.05, n), 0.02),
    "skewed gain, 0.02 on average": (lambda rng, n: rng.exponential(0.04, n) - 0.02, 0.02),
    "+0.3 in 10 % of the cases": (lambda rng, n: rng.normal(0, 0.02, n) + 0.3 * (rng.random(n) < 0.1), 0.03),
    "misses 3 % instead of 8 %": (
        lambda rng, n: 0.85 * ((rng.random(n) > 0.03) * 1.0 - (rng.random(n) > 0.08)) + rng.normal(0, 0.02, n),
        0.0425,
    ),
    "0, most cases equal, heavy tails": (lambda rng, n: 0.03 * rng.standard_t(3, n) * (rng.random(n) < 0.4), 0.0),
    "0: +0.0125 in most, -0.2375 in 5 %": (
        lambda rng, n: 0.0125 + rng.normal(0, 0.01, n) - 0.25 * (rng.random(n) < 0.05),
        0.0,
    ),
}


def false_reports(draw: Draw, runs: int, cases: int, repeats: int) -> tuple[float, float]:
    """Shares of reports with a verdict of better or worse; with that, or a corrected p below 5 % in any cell."""
    rng = np.random.default_rng([cases, runs])
    verdicts = cells = 0
    for start in range(0, repeats, AT_ONCE):
        dice = np.array([draw(rng, runs, cases) for _ in range(AT_ONCE)])
        difference = dice[:, 1:] - dice[:, :1]
        means, labels = difference.mean(3), np.swapaxes(difference, 2, 3).reshape(AT_ONCE, -1, cases)
        columns = np.concatenate([means.reshape(-1, cases), labels.reshape(-1, cases)]).T
        first, rest = runs - 1, (runs - 1) * LABELS
        families = [range(r * first, (r + 1) * first) for r in range(AT_ONCE)]
        families += [range(AT_ONCE * first + r * rest, AT_ONCE * first + (r + 1) * rest) for r in range(AT_ONCE)]
        corrected = np.array(
            [1.0 if p is None else p for p in sign_flip(columns, start, families, flips=DRAWN).corrected]
        )
        primary, secondary = corrected[: AT_ONCE * first].reshape(AT_ONCE, -1), corrected[AT_ONCE * first :]
        gated = np.maximum(secondary.reshape(AT_ONCE, first, LABELS), primary[..., None])
        level = 1 - 0.05 / first
        found = mean_intervals(columns[:, : AT_ONCE * first], [level] * (AT_ONCE * first), start, resamples=DRAWN)
        clear = np.array([i is not None and not i.low <= 0 <= i.high for i in found]).reshape(AT_ONCE, -1)
        verdicts += int((clear & (primary < 0.05)).any(1).sum())
        cells += int(((primary < 0.05).any(1) | (gated < 0.05).any((1, 2))).sum())
    return verdicts / repeats, cells / repeats


def coverage_and_power(repeats: int) -> Iterator[str]:
    yield "| mean difference | cases | covered | Student's t covers | no interval | half width | better or worse |"
    yield "| --- |" + " --- |" * 6
    for name, (draw, truth) in DIFFERENCES.items():
        for cases in CASES:
            rng = np.random.default_rng(cases)
            covered = students = absent = claims = 0
            half: list[float] = []
            for start in range(0, repeats, AT_ONCE):
                columns = np.array([draw(rng, cases) for _ in range(AT_ONCE)]).T
                found = mean_intervals(columns, [0.95] * AT_ONCE, start, resamples=DRAWN)
                p = sign_flip(columns, start, [[k] for k in range(AT_ONCE)], flips=DRAWN).p
                error = columns.std(0, ddof=1) / np.sqrt(cases)
                off = np.abs(columns.mean(0) - truth)
                students += int((off <= student_t.ppf(0.975, cases - 1) * error).sum())
                absent += sum(i is None for i in found)
                covered += sum(i is not None and i.low <= truth <= i.high for i in found)
                half += [(i.high - i.low) / 2 for i in found if i is not None]
                clear = [i is not None and not i.low <= 0 <= i.high for i in found]
                claims += sum(c and q is not None and q < 0.05 for c, q in zip(clear, p, strict=True))
            shown = [covered / max(1, len(half)), students / repeats, absent / repeats]
            cells = [*map(percent, shown), f"{np.median(half):.3f}", percent(claims / repeats)]
            yield f"| {name} | {cases} | {' | '.join(cells)} |"


Effect = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
"""(rng, shape) -> what all cases of a cluster share in their differences, 0 on average."""
EFFECTS: dict[str, Effect] = {
    "normal": lambda rng, shape: rng.normal(0, 0.03, shape),
    "heavy tails": lambda rng, shape: 0.02 * rng.standard_t(3, shape),
    "skewed": lambda rng, shape: 0.03 * (rng.exponential(1, shape) - 1),
}


def clustered(effect: Effect, clusters: int, repeats: int) -> list[float]:
    """Shares of verdicts by cluster, of intervals by cluster that cover, and of verdicts that ignore the clusters.

    Two runs without a difference on average. A cluster has 1 to 15 cases, small ones more often; a case differs by what
    its cluster shares and by its own.
    """
    rng = np.random.default_rng(clusters)
    counted = np.zeros(3)
    for start in range(0, repeats, AT_ONCE):
        sizes = np.minimum(rng.geometric(0.25, clusters), 15)
        units = np.repeat(np.arange(clusters), sizes)
        shared = effect(rng, (clusters, AT_ONCE))[units]
        columns = shared + rng.normal(0, 0.03, shared.shape)
        families = [[k] for k in range(AT_ONCE)]
        for place, of in ((0, units), (2, None)):
            found = mean_intervals(columns, [0.95] * AT_ONCE, start, of, resamples=DRAWN)
            p = sign_flip(columns, start, families, of, flips=DRAWN).p
            clear = [i is not None and not i.low <= 0 <= i.high for i in found]
            counted[place] += sum(c and q is not None and q < 0.05 for c, q in zip(clear, p, strict=True))
            if of is not None:
                counted[1] += sum(i is not None and i.low <= 0 <= i.high for i in found)
    return [float(share) for share in counted / repeats]


def by_cluster(repeats: int) -> Iterator[str]:
    yield f"{repeats:,} simulated reports of two runs in each row; {versions()}."
    yield ""
    yield "| what a cluster shares | clusters | false verdicts | interval covers | false verdicts without `--cluster` |"
    yield "| --- |" + " --- |" * 4
    for name, effect in EFFECTS.items():
        for clusters in CLUSTERS:
            shares = clustered(effect, clusters, repeats)
            yield f"| {name} | {clusters} | {' | '.join(map(percent, shares))} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5000, help=f"a multiple of {AT_ONCE}")
    parser.add_argument("--clusters", action="store_true", help="cases that belong together, alone")
    parser.add_argument("--write", type=Path, metavar="DOCUMENT")
    options = parser.parse_args()
    lines = by_cluster(options.repeats) if options.clusters else report(options.repeats)
    show(lines, Path(__file__).name + " --clusters" * options.clusters, options.write)


def report(repeats: int) -> Iterator[str]:
    yield f"{repeats:,} simulated reports in each cell; {versions()}."
    yield ""
    yield "False reports in %: a verdict of better or worse / that, or a corrected p below 5 % in any cell."
    yield ""
    yield from table(
        "no difference, and Dice is",
        NULLS,
        lambda name, cases, runs: percent(*false_reports(NULLS[name], runs, cases, repeats)),
    )
    yield ""
    yield "Two runs that differ. Covered: the 95 % intervals that hold the true mean, in % of those that there are."
    yield ""
    yield from coverage_and_power(repeats)


if __name__ == "__main__":
    main()
