"""nnU-Net's trainer without its folders and log: what trains a network, and nothing of what a training writes."""

import contextlib
import io
import os
import tempfile
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_prosma.host.plans import Setup

__all__ = ["environment", "nnUNetTrainer", "silent_trainer"]


class _Silent(nnUNetTrainer):
    def print_to_log_file(self, *args: Any, also_print_to_console: bool = True, add_timestamp: bool = True) -> None:
        pass


def silent_trainer(
    setup: Setup, device: torch.device, trainer_class: type[nnUNetTrainer] = nnUNetTrainer
) -> nnUNetTrainer:
    """A trainer of this class. nnU-Net's make their folder and log when they are made: these get one that goes away."""
    bases = (_Silent,) if trainer_class is nnUNetTrainer else (_Silent, trainer_class)
    silent = type(trainer_class.__name__, bases, {})
    own = {**deepcopy(setup.plans.content), "continue_training": False}
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        stack.enter_context(environment(nnUNet_results=folder, nnUNet_preprocessed=folder, nnUNet_wandb_enabled="0"))
        trainer: nnUNetTrainer = silent(own, setup.configuration, 0, setup.dataset.content, device)
    return trainer


@contextlib.contextmanager
def environment(**variables: str) -> Iterator[None]:
    """The environment with these variables, which are afterwards as they were before."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
