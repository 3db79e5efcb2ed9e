"""nnunet-prosma study: nnU-Net's own command for listed trainers and folds, the comparison, and a paper's table."""

import argparse
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from nnunet_prosma.arguments import add_quiet, command_parser, whole
from nnunet_prosma.errors import InputError

SHIPPED = Path(__file__).parent / "studies"


def parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "study",
        description="Train the trainers that STUDY lists, one fold after the other, with nnUNetv2_train; then compare "
        "them and write the table. What is finished is skipped and what was cut off goes on, so the command may be "
        "given again at any time.",
    )
    parser.add_argument("study", metavar="STUDY", nargs="?", help="a .yaml file, or the name of one that --list shows")
    parser.add_argument("--list", action="store_true", help="show the studies that come with the package")
    parser.add_argument("--show", action="store_true", help="print STUDY, to copy and change it")
    parser.add_argument("-o", metavar="FOLDER", type=Path, help="for the table, the reports and the logs")
    parser.add_argument("-d", metavar="DATASET", help="the data set, by number or name, instead of the study's")
    parser.add_argument("-f", metavar="FOLD", type=whole(0), nargs="+", help="instead of the study's folds")
    parser.add_argument("-device", choices=("cpu", "cuda", "mps"), default="cuda", help="default: %(default)s")
    parser.add_argument("--no-training", action="store_true", help="the table of what is finished")
    add_quiet(parser)
    return parser


def main(arguments: Sequence[str]) -> int:
    options = parser().parse_args(arguments)
    if options.list:
        print(shipped())
        return 0
    if not options.study:
        raise InputError("name a study: a .yaml file, or one of those that nnunet-prosma study --list shows")
    path = find(options.study)
    if options.show:
        print(path.read_text(), end="")
        return 0
    if options.o is None:
        raise InputError("-o must name a folder for the table, the reports and the logs")
    from nnunet_prosma.study.conduct import conduct
    from nnunet_prosma.study.spec import read

    study = read(path, dataset=options.d, folds=options.f)
    signal.signal(signal.SIGTERM, _stop)
    again = shlex.join(["nnunet-prosma", "study", *arguments])
    try:
        conduct(study, options.o.absolute(), options.device, train=not options.no_training, command=again)
    except KeyboardInterrupt:
        print(f"\nnnunet-prosma study: stopped; the same command goes on from here: {again}", file=sys.stderr)
        return 130
    return 0


def find(name: str) -> Path:
    """A file as it is, or one of ours by its name."""
    given, ours = Path(name), SHIPPED / f"{name}.yaml"
    if given.is_file():
        return given
    if ours.is_file():
        return ours
    raise InputError(f"there is no file {name} and no study of that name; --list shows {', '.join(names())}")


def names() -> list[str]:
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def shipped() -> str:
    from nnunet_prosma.study.spec import read

    return "\n".join(f"{name:<18}{read(SHIPPED / f'{name}.yaml').title}" for name in names())


def _stop(signum: int, frame: FrameType | None) -> NoReturn:
    """A polite request to end is as good as Ctrl-C: the training is ended too."""
    raise KeyboardInterrupt
