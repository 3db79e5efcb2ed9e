"""What the parsers of all sub-commands have in common: examples, a guess at what was meant, and shared options."""

import argparse
import difflib
import math
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

from nnunet_prosma.errors import InputError
from nnunet_prosma.subcommands import SUBCOMMANDS

DEVICES = ("cuda", "cpu", "mps")
STDOUT = Path("-")


def command_parser(name: str, **settings: Any) -> argparse.ArgumentParser:
    """The parser of one sub-command, still without options; settings are those of ArgumentParser."""
    return Parser(prog=f"nnunet-prosma {name}", **with_examples(name, SUBCOMMANDS[name].examples), **settings)


def with_examples(name: str, examples: Iterable[str]) -> dict[str, Any]:
    """The settings of a parser whose --help ends with these calls of nnunet-prosma NAME."""
    lines = [f"  nnunet-prosma {name} {example}".rstrip() for example in examples]
    return {"formatter_class": KeepsExamples, "epilog": "\n".join([EXAMPLES, *lines])}


def add_quiet(parser: argparse.ArgumentParser, *also: str) -> None:
    """--quiet, and other names by which a command has known it."""
    parser.add_argument("--quiet", *also, action="store_true", help="no progress bars")


def add_device(parser: argparse.ArgumentParser, about: str = "") -> None:
    """-device, chosen alike by all commands: None stands for cuda if there is one, else cpu."""
    default = "default: cuda if there is one, else cpu"
    parser.add_argument("-device", choices=DEVICES, help=f"{about}; {default}" if about else default)


def add_json(parser: argparse.ArgumentParser) -> None:
    """--json prints on stdout what a program reads, in the place of the text; --json FILE writes it beside the text."""
    about = "print all numbers as JSON in the place of the table, or write them to FILE"
    parser.add_argument("--json", metavar="FILE", type=Path, nargs="?", const=STDOUT, help=about)


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """The type of an option that takes a whole number within these limits."""

    def convert(text: str) -> int:
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
            raise argparse.ArgumentTypeError(f"must be a whole number, got {text!r}")
        if most is not None and not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"must be a number from {least} to {most}, got {text}")
        if int(text) < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, got {text}")
        return int(text)

    return convert


def number_above(limit: float, most: float | None = None) -> Callable[[str], float]:
    """The type of an option that takes a finite number above the limit."""
    limits = f"above {limit:g}" + (f" and at most {most:g}" if most is not None else "")

    def convert(text: str) -> float:
        try:
            value = float(text) if text.isascii() else math.nan
        except ValueError:
            value = math.nan
        if not limit < value < math.inf or (most is not None and value > most):
            raise argparse.ArgumentTypeError(f"must be {limits}, got {text}")
        return value

    return convert


def meant(word: str, among: Iterable[str]) -> str:
    """A question to go with an error, or nothing if no known word is near."""
    near = difflib.get_close_matches(word, list(among), n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


EXAMPLES = "examples:"


class KeepsExamples(argparse.HelpFormatter):
    """Wraps descriptions as argparse does, and leaves the lines of the examples as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if text.startswith(EXAMPLES) else super()._fill_text(text, width, indent)


class Parser(argparse.ArgumentParser):
    """Says what an unknown option or choice may have meant, in one line, with status 2."""

    def error(self, message: str) -> NoReturn:
        if value := re.match(r"argument (\S+): (must .*)", message):
            raise InputError(f"{value[1]} {value[2]}")
        flags = [flag for action in self._actions for flag in action.option_strings]
        if unknown := re.search(r"unrecognized arguments: (-\S+)", message):
            message += meant(unknown[1].partition("=")[0], flags)
        elif choice := re.search(r"argument (\S+): invalid choice: '([^']*)'", message):
            names = {*choice[1].split("/")}
            for action in self._actions:
                if action.choices and names & {*action.option_strings, action.dest, str(action.metavar)}:
                    message += meant(choice[2], map(str, action.choices))
        print(f"{self.prog}: {message}\n{self.prog} --help tells its options", file=sys.stderr)
        sys.exit(2)
