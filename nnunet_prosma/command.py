"""The command nnunet-prosma: finds the sub-command, and turns bad input into one sentence and status 2."""

import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from nnunet_prosma import __version__
from nnunet_prosma.errors import InputError

SUBCOMMANDS = {
    "benchmark": ("nnunet_prosma.benchmark", "measure what gates cost on a plan's network, in time and in memory"),
    "bundle": ("nnunet_prosma.bundle.command", "gather trained models into one folder that predicts elsewhere"),
    "compare": ("nnunet_prosma.compare.command", "hold trainings against each other: fairness, statistics, a report"),
    "container": ("nnunet_prosma.container.command", "write what a challenge's container is built from, of a bundle"),
    "convert": (
        "nnunet_prosma.convert",
        "make a data set of BUSI, GlaS or Kvasir-SEG, with the paper's splits",
    ),
    "demo": ("nnunet_prosma.demo", "train vanilla and gated nnU-Net on phantoms, and show both: a few minutes"),
    "doctor": ("nnunet_prosma.doctor", "say whether nnU-Net finds the trainers here, and what to do if not"),
    "inspect": ("nnunet_prosma.inspect.command", "show what the gates let through: maps, figures, numbers by case"),
    "metrics": ("nnunet_prosma.metrics", "IoU and F1 per image, pooled per batch and pooled over a data set"),
    "plan": (
        "nnunet_prosma.plan.command",
        "plan a data set with the gates in the network and in the memory it may take",
    ),
    "predict": ("nnunet_prosma.bundle.predict", "segment images with a bundle, once it is seen to be whole"),
    "study": ("nnunet_prosma.study", "train a list of trainers over folds, compare them, and write a paper's table"),
    "trainer-path": ("nnunet_prosma.trainer_path", "print the directory for an export of nnUNet_extTrainer"),
    "warm-start": ("nnunet_prosma.warm_start.command", "make the start of a gated training from a trained nnU-Net"),
}

USAGE = (
    "usage: nnunet-prosma COMMAND [OPTIONS]\n\n"
    + "\n".join(f"  {name:<14}{about}" for name, (_, about) in SUBCOMMANDS.items())
    + "\n\nnnunet-prosma COMMAND --help tells the options of a command. Training and prediction are nnU-Net's own\n"
    "commands: nnUNetv2_train DATASET CONFIGURATION FOLD -tr nnUNetTrainerProSMA"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Each sub-command is a module with a main(arguments) -> exit status; it is imported only when called."""
    name, *rest = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name in ("-h", "--help"):
        print(USAGE)
        return 0
    if name == "--version":
        print(f"nnunet-prosma {__version__}")
        return 0
    if name not in SUBCOMMANDS:
        print(f"nnunet-prosma: no command {name!r}; there are {', '.join(SUBCOMMANDS)}", file=sys.stderr)
        return 2
    run: Callable[[Sequence[str]], int] = import_module(SUBCOMMANDS[name][0]).main
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
