"""The arguments of nnunet-prosma inspect; those that nnUNetv2_predict has too are spelt as there."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from nnunet_prosma.arguments import add_device, add_quiet, command_parser, number_above
from nnunet_prosma.errors import InputError

USAGE = """nnunet-prosma inspect -d DATASET -c CONFIGURATION -tr TRAINER -f FOLD -i IMAGES -o OUT [OPTIONS]
       nnunet-prosma inspect -m MODEL_FOLDER -f FOLD -i IMAGES -o OUT [OPTIONS]
       nnunet-prosma inspect --training FOLD_FOLDER [FOLD_FOLDER ...] [-o OUT]"""


def parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "inspect",
        usage=USAGE,
        description="Show what the gates of a trained network let through: maps, figures and numbers, case by case. "
        "With --training, draw the record that a training kept of its gates.",
    )
    add = parser.add_argument
    add("-d", metavar="DATASET", help="data set, by number or name")
    add("-c", metavar="CONFIGURATION", help="2d, 3d_fullres, ...")
    add("-tr", metavar="TRAINER", default="nnUNetTrainerProSMA", help="default: %(default)s")
    add("-p", metavar="PLANS", default="nnUNetPlans", help="default: %(default)s")
    add("-m", metavar="MODEL_FOLDER", type=Path, help="the folder of the folds, instead of -d, -c, -tr and -p")
    add("-f", metavar="FOLD", nargs="+", default=["0", "1", "2", "3", "4"], help="default: 0 1 2 3 4")
    add("-chk", metavar="NAME", default="checkpoint_final.pth", help="checkpoint; default: %(default)s")
    add("-i", metavar="IMAGES", type=Path, help="folder of images, named as for nnUNetv2_predict")
    add("-o", metavar="OUT", type=Path, help="folder for what is shown")
    add("-gt", metavar="LABELS", type=Path, help="folder of true segmentations, named CASE as the predictions are")
    add("-prev_stage_predictions", metavar="FOLDER", type=Path, help="of a cascade: predictions of the stage before")
    add(
        "-step_size",
        metavar="SHARE",
        type=number_above(0, most=1),
        default=0.5,
        help="of the sliding window; default: %(default)s",
    )
    add("--disable_tta", action="store_true", help="no mirroring")
    add_device(parser)
    add("--not_on_device", action="store_true", help="keep the maps in the computer's memory, not on the device")
    add_quiet(parser, "--disable_progress_bar")
    add("--support", action="store_true", help="also write maps of the share of latent channels that survive")
    add("--outlines", action="store_true", help="draw what is segmented as thin lines over psi too")
    add(
        "--smooth",
        metavar="SMOOTH.json",
        type=Path,
        help="also show what smoothing as nnunet-prosma smooth fit chose changes",
    )
    add("--training", metavar="FOLD_FOLDER", nargs="+", type=Path, help="draw the records of these trainings instead")
    return parser


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    options = parser().parse_args(arguments)
    check(options)
    return options


def check(options: argparse.Namespace) -> None:
    if options.o is not None and options.o.exists() and not options.o.is_dir():
        raise InputError(f"{options.o} is a file: -o must name a folder")
    if options.training:
        if given := [f"-{name}" for name in ("d", "c", "m", "i", "gt") if getattr(options, name) is not None]:
            raise InputError(f"--training shows a record and takes no {', '.join(given)}: leave them out")
        if len(options.training) > 1 and options.o is None:
            raise InputError("--training with several folders needs -o OUT, where they are drawn side by side")
        return
    by_name = options.d is not None and options.c is not None
    if by_name == (options.m is not None) or (options.m is not None and (options.d or options.c)):
        raise InputError("name the model either by -d and -c (with -tr and -p), or by its folder with -m")
    for name, what in (("i", "the folder of images"), ("o", "the folder for what is shown")):
        if getattr(options, name) is None:
            raise InputError(f"-{name} is missing: {what}")
    if wrong := [fold for fold in options.f if fold != "all" and not (fold.isascii() and fold.isdecimal())]:
        raise InputError(f"-f takes numbers of folds, or all, got {wrong[0]!r}")
