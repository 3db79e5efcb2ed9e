"""The largest regressions and gains of each run, in words; pictures.py draws them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from nnunet_prosma.compare.analysis import Analysis
from nnunet_prosma.compare.paired import PairedRow
from nnunet_prosma.compare.verdict import number

SHOWN = 5


@dataclass(frozen=True)
class Picture:
    """A case of a row. png is None where nothing was drawn; where a file is missing, about says which.

    problem: what of it cannot be read, in one sentence.
    """

    row: PairedRow
    case: str
    name: str
    title: str
    about: str
    png: bytes | None = None
    problem: str = ""


def largest(analysis: Analysis) -> Iterator[Picture]:
    """The largest changes: for each run up to five regressions and five gains, the largest first."""
    for row in analysis.primaries:
        for kind, rank, index in extremes(row):
            case = analysis.table.cases[row.cases[index]]
            a, b = (float(v[index]) for v in row.values)
            about = (
                f"{row.metric.title} ({row.label}) {number(a, row)} with {row.baseline}, {number(b, row)} with "
                f"{row.candidate} ({number(b - a, row, True)})."
            )
            yield Picture(
                row, case, f"{kind}_{slug(row.candidate)}_{rank}", f"{kind.capitalize()} {rank}: {case}", about
            )


def extremes(row: PairedRow) -> Iterator[tuple[str, int, int]]:
    """(regression or gain, its rank from 1, index among the row's cases)."""
    better = row.differences * row.metric.better
    order = np.argsort(better, kind="stable")
    for kind, indices in (("regression", order[:SHOWN]), ("gain", order[::-1][:SHOWN])):
        sign = -1 if kind == "regression" else 1
        for rank, index in enumerate(int(i) for i in indices if sign * better[i] > 0):
            yield kind, rank + 1, index


def slug(name: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in name)
