"""The command nnunet-prosma: finds the sub-command, and turns bad input into one sentence and status 2."""

import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from nnunet_prosma import __version__, progress
from nnunet_prosma.errors import InputError
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
    """Each sub-command is a module with a main(arguments) -> exit status; it is imported only when called."""
    name, *rest = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name == "help":
        name, *rest = [rest[0], "--help"] if rest else ["--help"]
    if name in ("-h", "--help"):
        print(USAGE)
        return 0
    if name == "--version":
        print(f"nnunet-prosma {__version__}")
        return 0
    if name not in SUBCOMMANDS:
        from nnunet_prosma.arguments import meant

        guess = meant(name, SUBCOMMANDS) or f"; there are {', '.join(SUBCOMMANDS)}"
        print(f"nnunet-prosma: no command {name!r}{guess}", file=sys.stderr)
        return 2
    progress.quiet = "--quiet" in rest
    run: Callable[[Sequence[str]], int] = import_module(SUBCOMMANDS[name].module).main
    try:
        return run(rest)
    except InputError as error:
        print(f"nnunet-prosma {name}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"nnunet-prosma {name}: stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
