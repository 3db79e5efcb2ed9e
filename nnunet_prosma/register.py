"""Tells nnU-Net where the trainers are; run at Python's start by the file nnunet_prosma.pth beside this package.

nnU-Net looks for trainers in the directories of the environment variable nnUNet_extTrainer. This adds ours behind the
user's own. It runs at every start of the environment's Python, so nothing but os is imported.
"""

import os

VARIABLE = "nnUNet_extTrainer"
SWITCH = "NNUNET_PROSMA_REGISTER"
"""Set to 0, this environment variable switches the registration off."""
DIRECTORY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "extension")


def register() -> None:
    """Append our directory to nnU-Net's list, once."""
    known = [path for path in os.environ.get(VARIABLE, "").split(os.pathsep) if path]
    if os.environ.get(SWITCH) != "0" and DIRECTORY not in known:
        os.environ[VARIABLE] = os.pathsep.join([*known, DIRECTORY])
