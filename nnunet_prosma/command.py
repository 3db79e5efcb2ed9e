"""The command nnunet-prosma: finds the sub-command, and turns bad input into one sentence and status 2."""

import io
import os
import re
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from nnunet_prosma import __version__, progress
from nnunet_prosma.errors import InputError, of_system
from nnunet_prosma.subcommands import GROUPS, SUBCOMMANDS

USAGE = (
    "usage: nnunet-prosma COMMAND [OPTIONS]\n\n"
    + "\n\n".join(
        "\n".join(
            [f"{title}:", *(f"  {name:<14}{c.about}" for name, c in SUBCOMMANDS.items() if c.group == group)],
        )
        for group, title in GROUPS.items()
    )
    + "\n\nnnunet-prosma help COMMAND tells the options of a command, with examples. Training and prediction are\n"
    "nnU-Net's own commands: nnUNetv2_train DATASET CONFIGURATION FOLD -tr nnUNetTrainerProSMA"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Each sub-command is a module with a main(arguments) -> exit status; it is imported only when called.

    What a user can mend is one sentence and status 2, here for all sub-commands.
    """
    for stream in (sys.stdout, sys.stderr):  # a name may hold what neither Unicode nor this terminal has
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")
    name, *rest = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name == "help":
        name, *rest = [rest[0], "--help"] if rest and rest[0] != "help" else ["--help"]
    said = f"nnunet-prosma {name}" if name in SUBCOMMANDS else "nnunet-prosma"
    try:
        try:
            status = dispatch(name, rest)
        except SystemExit:  # argparse's, which has told what it was asked for
            sys.stdout.flush()
            raise
        sys.stdout.flush()
        return status
    except InputError as error:
        sentence = str(error)
    except BrokenPipeError:
        sentence = "what reads its output ended before it was all written"
    except OSError as error:
        sentence = of_system(error)
    except RecursionError:
        sentence = "a file or an option is nested too deeply to be read"
    except MemoryError as error:
        sentence = f"the memory does not suffice ({error or 'what is read or made is too large'})"
    except KeyboardInterrupt:
        print(f"{said}: stopped", file=sys.stderr)
        return 130
    print(f"{said}: {shortened(sentence)}", file=sys.stderr)
    empty_stdout()
    return 2


def dispatch(name: str, rest: Sequence[str]) -> int:
    if name in ("-h", "--help"):
        print(USAGE)
        return 0
    if name == "--version":
        print(f"nnunet-prosma {__version__}")
        return 0
    if name not in SUBCOMMANDS:
        from nnunet_prosma.arguments import meant

        guess = meant(name, [*SUBCOMMANDS, "help"]) or f"; there are {', '.join(SUBCOMMANDS)}"
        raise InputError(f"no command {name!r}{guess}")
    progress.quiet = "--quiet" in rest
    run: Callable[[Sequence[str]], int] = import_module(SUBCOMMANDS[name].module).main
    return run(rest)


def shortened(sentence: str) -> str:
    """What is quoted from a file may be of any length; a path is never that long."""
    return re.sub(r"(\S{200})\S{1000,}", r"\1...", sentence)


def empty_stdout() -> None:
    """What cannot be written goes nowhere: as Python ends it would try again, and end with a status of its own."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
