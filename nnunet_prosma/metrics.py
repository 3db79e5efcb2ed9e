"""nnunet-prosma metrics: IoU and F1 in the three ways in which papers pool them, side by side.

With I and U the pixels of intersection and union, J = I/U and F1 = 2J/(1+J) are taken of

- each image, and averaged over images (nnU-Net's Dice). An image with no such pixel in both has none;
- each batch of 8 as one image, and averaged over batches by their images (U-KAN's way, with its 1e-5 added to I and U);
- all images as one.
"""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nnunet_prosma.arguments import add_quiet, command_parser, whole
from nnunet_prosma.errors import InputError
from nnunet_prosma.files import is_json_of, refuse_file, write_json_of
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


def parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "metrics",
        description="IoU and F1 of predictions: per image, pooled per batch, and pooled over the data set.",
    )
    parser.add_argument("predictions", metavar="PREDICTIONS", type=Path, help="folder, such as fold_0/validation")
    parser.add_argument("truth", metavar="TRUTH", type=Path, help="folder with a file of the same name for each")
    parser.add_argument("--batch-size", type=whole(1), default=BATCH, help="default: %(default)s, U-KAN's")
    parser.add_argument(
        "--splits",
        metavar="FILE",
        type=Path,
        help="splits_final.json: its --fold says which cases there must be, and in which order they make up batches; "
        "without it, all predictions in the order of their names",
    )
    parser.add_argument("--fold", type=whole(0), help="fold of --splits")
    parser.add_argument("--labels", type=whole(1), nargs="+", help="default: all that occur but 0")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all of it there, each image's too")
    add_quiet(parser)
    return parser


def main(arguments: Sequence[str]) -> int:
    options = parser().parse_args(arguments)
    if (options.splits is None) != (options.fold is None):
        raise InputError("--splits and --fold go together: the file, and which of its folds")
    cases = None if options.splits is None else cases_of_fold(options.splits, options.fold)
    if options.json and not options.json.parent.is_dir():
        raise InputError(f"{options.json.parent} is not a folder; --json must name a file in one that exists")
    if options.json:
        refuse_file(options.json, is_json_of("metrics"))
    counted = count_folder(options.predictions, options.truth, cases, options.labels)
    scores = {label: scores_of(list(of_case.values()), options.batch_size) for label, of_case in counted.items()}
    print(as_text(scores))
    if options.json:
        write_json_of("metrics", options.json, as_json(counted, scores, options.batch_size))
    return 0


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
    """Label -> case -> Count, in the order of cases, or of the predictions' names."""
    import numpy as np

    ending = _ending(predictions)
    names = [p.name.removesuffix(ending) for p in sorted(predictions.iterdir()) if p.name.endswith(ending)]
    names = sorted(names) if cases is None else list(cases)
    for folder in (predictions, truth):
        missing = [name for name in names if not (folder / f"{name}{ending}").is_file()]
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise InputError(f"{folder} has no {missing[0]}{ending}{more}; each case needs a prediction and its truth")
    arrays: dict[str, dict[int, Count]] = {}
    for name in progress_bar(names, desc="metrics", unit="case", leave=False):
        files = (predictions / f"{name}{ending}", truth / f"{name}{ending}")
        (a, spacing), (b, true_spacing) = (_read(file, ending) for file in files)
        if a.shape != b.shape:
            raise InputError(f"{files[0]} is of size {_size(a)} and its truth {files[1]} of {_size(b)}: not one image")
        if not np.allclose(spacing, true_spacing, rtol=1e-3):
            raise InputError(
                f"{files[0]} has a spacing of {_by(spacing)} and its truth {files[1]} of {_by(true_spacing)}: not one "
                f"image"
            )
        occurring = labels or [int(v) for v in np.union1d(np.unique(a), np.unique(b)) if v > 0]
        arrays[name] = {
            k: Count(int(((a == k) & (b == k)).sum()), int((b == k).sum()), int((a == k).sum())) for k in occurring
        }
    found = sorted({label for of_label in arrays.values() for label in of_label})
    if not found:
        raise InputError(f"{truth} and {predictions} hold no label but 0, so there is nothing to measure")
    for label in labels or ():
        if not any(arrays[name][label].union for name in names):
            raise InputError(f"--labels {label} occurs neither in {truth} nor in {predictions}: nothing to score")
    return {label: {n: arrays[n].get(label, Count(0, 0, 0)) for n in names} for label in found}


def cases_of_fold(splits: Path, fold: int) -> list[str]:
    folds = read_splits(splits)
    if not 0 <= fold < len(folds):
        raise InputError(f"{splits} has folds 0 to {len(folds) - 1}, not {fold}")
    return list(folds[fold].val)


def as_text(scores: Mapping[int, Mapping[str, Score]]) -> str:
    lines = [f"{'label':<7}{'':<26}{'IoU %':>8}{'F1 %':>8}{'images':>8}"]
    for label, of_label in scores.items():
        for pooling, score in of_label.items():
            values = "".join(f"{'-' if v is None else f'{100 * v:.2f}':>8}" for v in (score.iou, score.f1))
            out = f"  ({score.left_out} without the label, left out)" if score.left_out else ""
            lines.append(f"{label:<7}{POOLINGS[pooling]:<26}{values}{score.images:>8}{out}")
    return "\n".join(lines)


def as_json(
    counted: Mapping[int, Mapping[str, Count]], scores: Mapping[int, Mapping[str, Score]], batch_size: int
) -> dict[str, Any]:
    return {
        "batch_size": batch_size,
        "labels": {
            str(label): {
                "scores": {pooling: asdict(score) for pooling, score in scores[label].items()},
                "images": {name: asdict(count) for name, count in of_case.items()},
            }
            for label, of_case in counted.items()
        },
    }


def _mean(weighted: Iterable[tuple[float, int]]) -> float | None:
    values = list(weighted)
    return sum(v * n for v, n in values) / sum(n for _, n in values) if values else None


def _ending(folder: Path) -> str:
    """Of the images in a folder, which must all have one."""
    from nnunetv2.imageio.reader_writer_registry import LIST_OF_IO_CLASSES

    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; name one that holds predictions")
    known = sorted({e for reader in LIST_OF_IO_CLASSES for e in reader.supported_file_endings}, key=len, reverse=True)
    found = {next((e for e in known if p.name.endswith(e)), "") for p in folder.iterdir() if p.is_file()} - {""}
    if len(found) != 1:
        what = f"images of several kinds ({', '.join(sorted(found))})" if found else "no image that nnU-Net reads"
        raise InputError(f"{folder} holds {what}; it must hold predictions of one kind")
    return found.pop()


def _read(file: Path, ending: str) -> tuple[Any, Sequence[float]]:
    """The labels of a segmentation, and its spacing."""
    import numpy as np
    from nnunetv2.imageio.reader_writer_registry import determine_reader_writer_from_file_ending

    try:
        reader = determine_reader_writer_from_file_ending(ending, verbose=False)()
        labels, properties = reader.read_seg(str(file))
    except Exception as error:  # whatever the reader of that format raises
        raise InputError(f"{file} cannot be read as a segmentation ({' '.join(str(error).split())})") from None
    if not np.isfinite(labels).all() or (labels != np.rint(labels)).any() or labels.min(initial=0) < 0:
        raise InputError(f"{file} must be a segmentation, of whole numbers from 0 on, and holds others")
    return labels[0], list(properties["spacing"])


def _size(array: Any) -> str:
    return "x".join(str(n) for n in array.shape if n > 1)


def _by(spacing: Sequence[float]) -> str:
    return " x ".join(f"{step:g}" for step in spacing)
