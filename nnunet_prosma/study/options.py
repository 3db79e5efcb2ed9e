"""The arguments of nnunet-prosma study."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from nnunet_prosma.arguments import add_device, add_quiet, command_parser
from nnunet_prosma.errors import InputError


def parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "study",
        description="Train the trainers that STUDY lists, fold by fold, with nnUNetv2_train; then compare them and "
        "write the table. What is finished is skipped and what was cut off goes on, so the command may be given again "
        "at any time.",
    )
    add = parser.add_argument
    add("study", metavar="STUDY", nargs="?", help="a .yaml file, or the name of one that --list shows")
    add("--list", action="store_true", help="show the studies that come with the package")
    add("--show", action="store_true", help="print STUDY, to copy and change it")
    add("-o", metavar="FOLDER", type=Path, help="for the table, the reports, the records and the logs")
    add("-d", metavar="DATASET", help="the data set, by number or name, instead of the study's")
    add("-f", metavar="FOLD", type=int, nargs="+", help="instead of the study's folds")
    add_device(parser)
    add("-num_gpus", metavar="N", type=int, default=1, help="GPUs of one training, as in nnUNetv2_train; default: 1")
    here = parser.add_argument_group("on this machine")
    here.add_argument("--gpus", metavar="GPU", nargs="+", help="one training on each of these GPUs, from one queue")
    here.add_argument("--jobs", metavar="N", type=int, help="N trainings at once, from one queue")
    here.add_argument("--run", metavar="KEY", help="only this run, one of those that --status --json names")
    look = parser.add_argument_group("to look")
    look.add_argument("--status", action="store_true", help="how far each run is; nothing is started")
    look.add_argument("--json", action="store_true", help="--status as JSON")
    look.add_argument("--collect", metavar="DIR", type=Path, help="add what is finished to DIR, without checkpoints")
    look.add_argument("--no-training", action="store_true", help="the table of what is finished")
    add_quiet(parser)
    return parser


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    options = parser().parse_args(arguments)
    check(options)
    return options


def check(options: argparse.Namespace) -> None:
    if options.list:
        return
    if not options.study:
        raise InputError("name a study: a .yaml file, or one of those that nnunet-prosma study --list shows")
    if not options.show and options.o is None:
        raise InputError("-o must name a folder for the table, the reports, the records and the logs")
    if options.num_gpus < 1:
        raise InputError(f"-num_gpus must be 1 or more, got {options.num_gpus}")
    if options.json and not options.status:
        raise InputError("--json goes with --status")
    if options.run and (len(options.gpus or []) > options.num_gpus or (options.jobs or 1) > 1):
        raise InputError("--run takes one run to its end, so there is no queue: leave out --jobs and further --gpus")
