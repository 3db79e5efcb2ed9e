"""nnunet-prosma completion: the script by which a shell completes sub-commands and options, made by shtab."""

import argparse
from collections.abc import Sequence
from importlib import import_module

from nnunet_prosma.arguments import command_parser
from nnunet_prosma.errors import InputError
from nnunet_prosma.subcommands import SUBCOMMANDS

SHELLS = ("bash", "zsh", "tcsh")


def parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "completion",
        description="Print the script by which a shell completes sub-commands and options. It needs shtab: pip install "
        "'nnunet-prosma[completion]'. In zsh, write it to a file _nnunet-prosma in a folder of $fpath.",
    )
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))
    return parser


def main(arguments: Sequence[str]) -> int:
    shell = parser().parse_args(arguments).shell
    try:
        import shtab
    except ModuleNotFoundError:
        raise InputError(
            "the script is made by shtab, which is not installed: pip install 'nnunet-prosma[completion]'"
        ) from None
    print(shtab.complete(whole_parser(), shell=shell))
    return 0


def whole_parser() -> argparse.ArgumentParser:
    """One parser with all sub-commands below it."""
    whole = argparse.ArgumentParser(prog="nnunet-prosma")
    below = whole.add_subparsers()
    for name, command in SUBCOMMANDS.items():
        below.add_parser(name, help=command.about, parents=[import_module(command.module).parser()], add_help=False)
    return whole
