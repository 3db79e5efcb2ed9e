"""IoU and F1 of segmentations, in the three ways in which papers pool them.

With I and U the pixels of intersection and union, J = I/U and F1 = 2J/(1+J) are taken of

- each image, and averaged over images (nnU-Net's Dice). An image with no such pixel in both has none;
- each batch of 8 as one image, and averaged over batches by their images (U-KAN's way, with its 1e-5 added to I and U);
- all images as one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_prosma.errors import InputError
from nnunet_prosma.host.splits import read_splits
from nnunet_prosma.progress import progress_bar

SMOOTH = 1e-5
BATCH = 8
POOLINGS = {"image": "per image", "batch": "pooled per batch", "dataset": "pooled over the data set"}


@dataclass(frozen=True)
class Count:
    """Pixels of one label in one image, or in several together."""

    both: int
    truth: int
    prediction: int

    @property
    def union(self) -> int:
        return self.truth + self.prediction - self.both


@dataclass(frozen=True)
class Score:
    """iou and f1 are None where no image counts; images that do not are left_out."""

    iou: float | None
    f1: float | None
    images: int
    left_out: int = 0


def scores_of(counts: Sequence[Count], batch_size: int = BATCH) -> dict[str, Score]:
    """The three poolings of the images in their order."""
    present = [c for c in counts if c.union]
    batches = [counts[i : i + batch_size] for i in range(0, len(counts), batch_size)]
    pooled = [(together(batch), len(batch)) for batch in batches]
    ious = [((c.both + SMOOTH) / (c.union + SMOOTH), n) for c, n in pooled]
    total = together(counts)
    return {
        "image": Score(
            _mean((c.both / c.union, 1) for c in present),
            _mean((2 * c.both / (c.truth + c.prediction), 1) for c in present),
            len(present),
            len(counts) - len(present),
        ),
        "batch": Score(_mean(ious), _mean((2 * j / (1 + j), n) for j, n in ious), len(counts)),
        "dataset": Score(
            total.both / total.union if total.union else None,
            2 * total.both / (total.truth + total.prediction) if total.union else None,
            len(counts),
        ),
    }


def together(counts: Iterable[Count]) -> Count:
    counts = list(counts)
    return Count(sum(c.both for c in counts), sum(c.truth for c in counts), sum(c.prediction for c in counts))


def count_folder(
    predictions: Path, truth: Path, cases: Sequence[str] | None = None, labels: Sequence[int] | None = None
) -> dict[int, dict[str, Count]]:
    """Label -> case -> Count, in the order of cases, or of the predictions' names; one that cannot be is an error."""
    counted, problems = count_readable(predictions, truth, cases, labels)
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise InputError(f"{next(iter(problems.values()))}{more}")
    return counted


def count_readable(
    predictions: Path,
    truth: Path,
    cases: Sequence[str] | None = None,
    labels: Sequence[int] | None = None,
    ignore: int | None = None,
) -> tuple[dict[int, dict[str, Count]], dict[str, str]]:
    """The counts of those cases that can be read, and of the others what is wrong with them.

    ignore: a label of the truth; where it is, nothing counts, as in nnU-Net.
    """
    import numpy as np

    from nnunet_prosma.host.segmentations import pairs_of

    names, read = pairs_of(predictions, truth, cases)
    counts: dict[str, dict[int, Count]] = {}
    problems: dict[str, str] = {}
    for name in progress_bar(names, desc="metrics", unit="case", leave=False):
        try:
            a, b = read(name)
        except InputError as error:
            problems[name] = str(error)
            continue
        if ignore is not None:
            a, b = (array[b != ignore] for array in (a, b))
        occurring = labels or [int(v) for v in np.union1d(np.unique(a), np.unique(b)) if v > 0]
        counts[name] = {
            k: Count(int(((a == k) & (b == k)).sum()), int((b == k).sum()), int((a == k).sum())) for k in occurring
        }
    if not counts:
        raise InputError(f"no case can be measured: {next(iter(problems.values()), 'there is none')}")
    found = sorted({label for of_label in counts.values() for label in of_label})
    if not found:
        raise InputError(f"{truth} and {predictions} hold no label but 0, so there is nothing to measure")
    for label in labels or ():
        if not any(of_label[label].union for of_label in counts.values()):
            raise InputError(f"--labels {label} occurs neither in {truth} nor in {predictions}: nothing to score")
    return {label: {n: c.get(label, Count(0, 0, 0)) for n, c in counts.items()} for label in found}, problems


def cases_of_fold(splits: Path, fold: int) -> list[str]:
    folds = read_splits(splits)
    if not 0 <= fold < len(folds):
        raise InputError(f"{splits} has folds 0 to {len(folds) - 1}, not {fold}")
    return list(folds[fold].val)


def _mean(weighted: Iterable[tuple[float, int]]) -> float | None:
    values = list(weighted)
    return sum(v * n for v, n in values) / sum(n for _, n in values) if values else None
