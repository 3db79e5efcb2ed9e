"""The arguments of nnunet-prosma study."""

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

from nnunet_prosma.arguments import add_device, add_quiet, command_parser, whole
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
    add("-f", metavar="FOLD", type=whole(0), nargs="+", help="instead of the study's folds")
    add_device(parser)
    add(
        "-num_gpus",
        metavar="N",
        type=whole(1),
        default=1,
        help="GPUs of one training; default: 1",
    )
    every = "write a checkpoint at the end of an epoch when the last is so old; default: %(default)g"
    add("--checkpoint-every", metavar="MINUTES", type=float, default=15.0, help=every)
    here = parser.add_argument_group("on this machine")
    here.add_argument("--gpus", metavar="GPU", nargs="+", help="one training on each of these GPUs, from one queue")
    here.add_argument("--jobs", metavar="N", type=whole(1), help="N trainings at once, from one queue")
    here.add_argument("--run", metavar="KEY", help="only this run, one of those that --status --json names")
    there = parser.add_argument_group("on a Slurm cluster")
    there.add_argument("--slurm", action="store_true", help="submit what is left as an array, and a job for the table")
    there.add_argument(
        "--sbatch", metavar="OPTIONS", default="", help='for sbatch, as "-p gpu -t 24:00:00 --gres gpu:1"'
    )
    there.add_argument("--parallel", metavar="N", type=whole(1), help="tasks at once; default: as many as Slurm starts")
    there.add_argument("--resubmit", metavar="N", type=whole(0), default=2, help="times that what died starts again")
    there.add_argument("--follow-up", metavar="N", type=whole(0), help="what the job for the table calls")
    looking = parser.add_argument_group("to look")
    looking.add_argument("--status", action="store_true", help="how far each run is; nothing is started")
    looking.add_argument("--json", action="store_true", help="--status as JSON")
    looking.add_argument("--collect", metavar="DIR", type=Path, help="add what is finished to DIR, without checkpoints")
    looking.add_argument("--no-training", action="store_true", help="the table of what is finished")
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
    if not options.checkpoint_every >= 0:
        raise InputError(f"--checkpoint-every must be minutes from 0 on, got {options.checkpoint_every:g}")
    if options.slurm and (options.gpus or options.jobs or options.run):
        raise InputError("--slurm leaves machines and GPUs to Slurm: leave out --gpus, --jobs and --run")
    try:
        shlex.split(options.sbatch)
    except ValueError as error:
        raise InputError(f"--sbatch must be options as a shell takes them, got {options.sbatch!r} ({error})") from None
    if options.json and not options.status:
        raise InputError("--json goes with --status")
    if options.run and (len(options.gpus or []) > options.num_gpus or (options.jobs or 1) > 1):
        raise InputError("--run takes one run to its end, so there is no queue: leave out --jobs and further --gpus")
