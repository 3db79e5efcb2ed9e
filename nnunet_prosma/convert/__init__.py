"""nnunet-prosma convert: the paper's 2D data sets, as their publishers ship them, into nnU-Net's raw format."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from nnunet_prosma.arguments import add_quiet, command_parser, whole
from nnunet_prosma.errors import InputError

DATASETS = {
    "busi": ("BUSI", 256, "benign/, malignant/ and normal/ with 'benign (1).png' and 'benign (1)_mask.png' ..."),
    "glas": ("GlaS", 512, "train_1.bmp and train_1_anno.bmp ..., testA_*, testB_*"),
    "kvasir": ("KvasirSEG", 256, "images/ and masks/ with files of the same names"),
}
"""The name behind the number, the paper's size, and the layout."""
FOLDER = "nnUNet_raw"
MISMATCHES = ("error", "centre-crop", "leave-out")


def parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "convert",
        description="Write an nnU-Net raw data set, with the paper's three splits as folds 0-2, from the folder as its "
        "publisher ships it. " + " ".join(f"{name}: {layout}." for name, (_, _, layout) in DATASETS.items()),
    )
    parser.add_argument("dataset", choices=list(DATASETS), help="which of them SOURCE is")
    parser.add_argument("source", metavar="SOURCE", type=Path, help="the publisher's folder, unpacked")
    parser.add_argument("number", metavar="DATASET_ID", type=whole(1, 999), help="of the new data set, 1 to 999")
    parser.add_argument(
        "--size",
        default="paper",
        help="edge in pixels, to which every picture is brought; native keeps each as it is (default: the paper's, "
        + ", ".join(f"{name} {size}" for name, (_, size, _) in DATASETS.items())
        + ")",
    )
    parser.add_argument("--include-normal", action="store_true", help="busi: the pictures without a lesion too")
    parser.add_argument(
        "--first-mask-only", action="store_true", help="busi: leave out further masks of a picture, as U-KAN does"
    )
    parser.add_argument(
        "--other-size",
        choices=MISMATCHES,
        default="error",
        help="busi: what to do with a further mask (_mask_1.png ...) that is larger than its picture; default: "
        "%(default)s",
    )
    add_quiet(parser)
    return parser


def main(arguments: Sequence[str]) -> int:
    options = parser().parse_args(arguments)
    folder = convert(options)
    number = options.number
    print(f"{folder}\nnext: nnUNetv2_plan_and_preprocess -d {number} -c 2d --verify_dataset_integrity")
    print(f"then: nnUNetv2_train {number} 2d 0 -tr nnUNetTrainerPUNet --val_best    (folds 0, 1, 2)")
    return 0


def convert(options: argparse.Namespace) -> Path:
    name, paper_size, layout = DATASETS[options.dataset]
    busi_only = {
        "--include-normal": options.include_normal,
        "--first-mask-only": options.first_mask_only,
        f"--other-size {options.other_size}": options.other_size != "error",
    }
    if options.dataset != "busi" and any(busi_only.values()):
        given = next(flag for flag, value in busi_only.items() if value)
        raise InputError(f"{given} is for busi alone; leave it out for {options.dataset}")
    size = _size(options.size, paper_size)
    if not options.source.is_dir():
        raise InputError(f"{options.source} is not a folder; SOURCE must be the publisher's, which holds {layout}")
    raw = os.environ.get(FOLDER)
    if not raw:
        raise InputError("the data set is written where nnU-Net looks for it: set the environment variable " + FOLDER)
    from nnunet_prosma.convert.raw_dataset import free_folder, write

    folder = free_folder(Path(raw), options.number, name)
    if options.dataset == "busi":
        from nnunet_prosma.convert.busi import pairs

        found = pairs(
            options.source,
            normal=options.include_normal,
            first_mask_only=options.first_mask_only,
            other_size=options.other_size,
        )
    elif options.dataset == "glas":
        from nnunet_prosma.convert.glas import pairs as glas_pairs

        found = glas_pairs(options.source)
    else:
        from nnunet_prosma.convert.kvasir import pairs as kvasir_pairs

        found = kvasir_pairs(options.source)
    if not found:
        raise InputError(f"{options.source} holds no pictures of {options.dataset}: it must hold {layout}")
    return write(folder, found, size)


def _size(given: str, paper_size: int) -> int | None:
    if given in ("paper", "native"):
        return paper_size if given == "paper" else None
    if not (given.isascii() and given.isdecimal() and len(given) < 6) or int(given) < 16:
        raise InputError(f"--size must be native or a number of pixels from 16 on, got {given!r}")
    return int(given)
