"""nnunet-prosma trainer-path: the directory that nnU-Net must be told of where no start-up file does it."""

import argparse
from collections.abc import Sequence

from nnunet_prosma.arguments import command_parser
from nnunet_prosma.register import DIRECTORY, VARIABLE


def parser() -> argparse.ArgumentParser:
    return command_parser(
        "trainer-path", description=f"Print the directory for: export {VARIABLE}=$(nnunet-prosma trainer-path)"
    )


def main(arguments: Sequence[str]) -> int:
    parser().parse_args(arguments)
    print(DIRECTORY)
    return 0
