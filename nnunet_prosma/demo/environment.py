"""The environment in which the demo runs nnU-Net's commands: folders and trainers of its own."""

import os
from pathlib import Path

from nnunet_prosma.register import VARIABLE

EXTENSION = os.path.join(os.path.dirname(os.path.abspath(__file__)), "extension")


def environment(folder: Path, *, epochs: int, iterations: int, augmenters: int) -> dict[str, str]:
    """The user's environment with nnU-Net's folders inside the demo's, and the demo's trainers first in the list."""
    known = os.environ.get(VARIABLE)
    return {
        "OMP_WAIT_POLICY": "PASSIVE",  # threads that spin would slow a busy machine several times over
        **os.environ,
        **{f"nnUNet_{name}": str(folder / name) for name in ("raw", "preprocessed", "results")},
        VARIABLE: os.pathsep.join([EXTENSION, known] if known else [EXTENSION]),
        "NNUNET_PROSMA_DEMO_EPOCHS": str(epochs),
        "NNUNET_PROSMA_DEMO_ITERATIONS": str(iterations),
        "nnUNet_n_proc_DA": str(augmenters),
        "nnUNet_def_n_proc": "1",
        "nnUNet_compile": "f",  # compiling would take longer than it saves here
        "PYTHONUNBUFFERED": "1",
    }
