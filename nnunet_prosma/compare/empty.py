"""What an empty mask means. The rule is written out in docs/compare.md; this file is where it is applied.

truth empty: overlap and distance say nothing about how good an empty answer is, so a case in which a label is absent
    is left out of that label's metrics for both runs. How often each run was silent there and how often it raised a
    false alarm is counted beside.
truth present, prediction empty (a miss): Dice, IoU and normalised surface distance are 0 by their definitions, the
    volume error is 100 %. The Hausdorff distance is not a finite number: the pair is left out of it, and counted.
"""

from dataclasses import dataclass

import numpy as np

from nnunet_prosma.compare.table import CaseTable


@dataclass(frozen=True)
class EmptyCounts:
    """Cases of one label. The tuples hold one count for each training: a mean over several hides what one missed."""

    label: str
    present: int
    absent: int
    both_empty: tuple[int, ...]
    false_alarms: tuple[int, ...]
    misses: tuple[int, ...]


def count_empty(table: CaseTable) -> list[EmptyCounts]:
    counts, table = [], table.single
    for index, label in enumerate(table.labels):
        absent = table.n_ref[:, index] == 0
        silent = table.n_pred[:, :, index] == 0
        counts.append(
            EmptyCounts(
                label=label,
                present=int((~absent).sum()),
                absent=int(absent.sum()),
                both_empty=tuple(int(n) for n in (silent & absent).sum(1)),
                false_alarms=tuple(int(n) for n in (~silent & absent).sum(1)),
                misses=tuple(int(n) for n in (silent & ~absent).sum(1)),
            )
        )
    return counts


def usable(table: CaseTable, metric: str) -> np.ndarray:
    """(runs, cases, labels): where a value enters the statistics of this metric."""
    return (table.n_ref > 0) & np.isfinite(table.values[metric])
