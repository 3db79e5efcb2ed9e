"""Every value of every case, label and run in arrays; nothing here grows with the size of the images."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from nnunet_prosma.compare.summaries import ComparedCase
from nnunet_prosma.host.labels import LabelKey


@dataclass(frozen=True)
class Metric:
    """name: its column; better: +1 where larger is better, -1 where smaller is; worse_by: a loss worth counting."""

    name: str
    title: str
    better: int
    unit: str
    worse_by: float
    digits: int
    largest: float = math.inf
    """The largest value it can have: no difference is larger. Its smallest is 0."""


def known_metrics(unit: str) -> dict[str, Metric]:
    """unit: of distances, mm, or px for images without a spacing."""
    return {
        "dice": Metric("dice", "Dice", 1, "", 0.05, 3, largest=1.0),
        "iou": Metric("iou", "IoU", 1, "", 0.05, 3, largest=1.0),
        "nsd": Metric("nsd", "normalised surface distance", 1, "", 0.05, 3, largest=1.0),
        "hd95": Metric("hd95", "95 % Hausdorff distance", -1, unit, 5.0, 2),
        "volume": Metric("volume", "volume error", -1, "%", 10.0, 1),
    }


@dataclass
class CaseTable:
    """values: metric -> (runs, cases, labels), NaN where it is not defined; n_ref (cases, labels), n_pred as values.

    n_ref is of the baseline's truth, which decides where a label is there.
    """

    runs: list[str]
    cases: list[str]
    folds: list[str]
    keys: list[LabelKey]
    labels: list[str]
    metrics: list[Metric]
    values: dict[str, np.ndarray]
    n_ref: np.ndarray
    n_pred: np.ndarray
    clusters: list[str] | None = None
    """The cluster of each case, where some belong together."""
    trainings: "CaseTable | None" = None
    """The table of single trainings, where a run of this table stands for several."""
    arms: list[list[int]] = field(default_factory=list)
    """The indices of each run's trainings in that table."""

    @property
    def single(self) -> "CaseTable":
        """The table of single trainings: this one where no run stands for several."""
        return self.trainings or self

    def indices(self, run: int) -> list[int]:
        """Where the trainings of a run stand in the table of single trainings."""
        return self.arms[run] if self.arms else [run]

    @property
    def repeated(self) -> bool:
        """Whether every run stands for several trainings, so that a difference is one of methods."""
        return self.trainings is not None and all(len(arm) > 1 for arm in self.arms)


def build_table(
    names: Sequence[str], cases: Sequence[Mapping[str, ComparedCase]], labels: Mapping[LabelKey, str], unit: str
) -> CaseTable:
    """A table of nnU-Net's own numbers, over the cases and labels that all runs have."""
    common = sorted(set.intersection(*(set(c) for c in cases)), key=lambda c: (cases[0][c].fold, c))
    keys = [k for k in labels if all(k in c[n].values for c in cases for n in common)]
    raw = np.array([[[c[n].values[k] for k in keys] for n in common] for c in cases], dtype=float)
    raw = raw.reshape(len(cases), len(common), len(keys), 4)
    n_refs, n_pred = raw[..., 2], raw[..., 3]  # the truth can be another for each run, by --allow truth
    with np.errstate(divide="ignore", invalid="ignore"):
        volume = 100 * np.abs(n_pred - n_refs) / n_refs
    known = known_metrics(unit)
    return CaseTable(
        runs=list(names),
        cases=common,
        folds=[cases[0][n].fold for n in common],
        keys=keys,
        labels=[labels[k] for k in keys],
        metrics=[known[m] for m in ("dice", "iou", "volume")],
        values={"dice": raw[..., 0], "iou": raw[..., 1], "volume": np.where(np.isfinite(volume), volume, np.nan)},
        n_ref=n_refs[0],
        n_pred=n_pred,
    )
