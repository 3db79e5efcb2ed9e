"""nnunet-prosma metrics: IoU and F1 in the three ways in which papers pool them, side by side."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nnunet_prosma.arguments import STDOUT, add_json, add_quiet, command_parser, whole
from nnunet_prosma.errors import InputError
from nnunet_prosma.files import is_json_of, refuse_file, write_json_of
from nnunet_prosma.statistics.overlap import (
    BATCH,
    POOLINGS,
    Count,
    Score,
    cases_of_fold,
    count_folder,
    count_readable,
    scores_of,
)

__all__ = ["Count", "Score", "count_folder", "main", "parser", "scores_of"]


def parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "metrics",
        description="IoU and F1 of predictions: per image, pooled per batch, and pooled over the data set.",
    )
    parser.add_argument("predictions", metavar="PREDICTIONS", type=Path, help="folder, such as fold_0/validation")
    parser.add_argument("truth", metavar="TRUTH", type=Path, help="folder with a file of the same name for each")
    parser.add_argument("--batch-size", metavar="N", type=whole(1), default=BATCH, help="default: %(default)s, U-KAN's")
    parser.add_argument(
        "--splits",
        metavar="FILE",
        type=Path,
        help="splits_final.json: its --fold says which cases there must be, and in which order they make up batches; "
        "without it, all predictions in the order of their names",
    )
    parser.add_argument("-f", "--fold", metavar="FOLD", type=whole(0), help="fold of --splits")
    parser.add_argument("--labels", metavar="LABEL", type=whole(1), nargs="+", help="default: all that occur but 0")
    parser.add_argument(
        "--ignore",
        metavar="LABEL",
        type=whole(1),
        help="the data set's ignore label: where the truth has it nothing counts",
    )
    add_json(parser)
    add_quiet(parser)
    return parser


def main(arguments: Sequence[str]) -> int:
    options = parser().parse_args(arguments)
    if (options.splits is None) != (options.fold is None):
        raise InputError("--splits and --fold go together: the file, and which of its folds")
    cases = None if options.splits is None else cases_of_fold(options.splits, options.fold)
    to_file = options.json not in (None, STDOUT)
    if to_file and not options.json.parent.is_dir():
        raise InputError(f"{options.json.parent} is not a folder; --json must name a file in one that exists")
    if to_file:
        refuse_file(options.json, is_json_of("metrics"))
    counted, problems = count_readable(options.predictions, options.truth, cases, options.labels, options.ignore)
    scores = {label: scores_of(list(of_case.values()), options.batch_size) for label, of_case in counted.items()}
    found = as_json(counted, scores, options.batch_size, problems)
    left_out = ""
    if problems:
        total = len(problems) + len(next(iter(counted.values())))
        left_out = f"{len(problems)} of {total} images are left out of all of it: {', '.join(problems)}"
    if options.json == STDOUT:
        print(json.dumps(found, indent=1))
    else:
        print(as_text(scores), *([left_out] if problems else []), sep="\n")
    if to_file:
        write_json_of("metrics", options.json, found)
    for name, why in problems.items():
        print(f"nnunet-prosma metrics: {name} is left out: {why}", file=sys.stderr)
    if problems:
        raise InputError(left_out)
    return 0


def as_text(scores: Mapping[int, Mapping[str, Score]]) -> str:
    lines = [f"{'label':<7}{'':<26}{'IoU %':>8}{'F1 %':>8}{'images':>8}"]
    for label, of_label in scores.items():
        for pooling, score in of_label.items():
            values = "".join(f"{'-' if v is None else f'{100 * v:.2f}':>8}" for v in (score.iou, score.f1))
            out = f"  ({score.left_out} without the label, left out)" if score.left_out else ""
            lines.append(f"{label:<7}{POOLINGS[pooling]:<26}{values}{score.images:>8}{out}")
    return "\n".join(lines)


def as_json(
    counted: Mapping[int, Mapping[str, Count]],
    scores: Mapping[int, Mapping[str, Score]],
    batch_size: int,
    problems: Mapping[str, str],
) -> dict[str, Any]:
    return {
        "batch_size": batch_size,
        "unreadable": dict(problems),
        "labels": {
            str(label): {
                "scores": {pooling: asdict(score) for pooling, score in scores[label].items()},
                "images": {name: asdict(count) for name, count in of_case.items()},
            }
            for label, of_case in counted.items()
        },
    }
