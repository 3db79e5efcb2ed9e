"""The network that a trainer trained, written into its plans, so that no trainer is needed to build it again."""

import re
from pathlib import Path

from torch import nn

from nnunet_prosma.architectures.gated_unet import GatedNetwork
from nnunet_prosma.bundle.allowed import require_allowed
from nnunet_prosma.errors import InputError
from nnunet_prosma.host.changed import with_gates
from nnunet_prosma.host.dataset_json import Dataset
from nnunet_prosma.host.plans import Plans, Setup
from nnunet_prosma.host.stand_ins import FromPlans
from nnunet_prosma.host.trainers import find_trainer


def read_setup(folder: Path, configuration: str) -> Setup:
    """The setup of a bundle's model, once it names nothing but what a bundle may use."""
    setup = Setup(Plans.read(folder / "plans.json"), configuration, Dataset.read(folder / "dataset.json"))
    require_allowed(setup)
    ending = setup.dataset.file_ending
    if not re.fullmatch(r"[\w.]+", ending):
        raise InputError(f"{setup.dataset.source}: $.file_ending must be such as .nii.gz, got {ending!r}")
    return setup


def build(setup: Setup) -> nn.Module:
    """The network that the plans alone tell, built by nnU-Net's own function; for inference."""
    require_allowed(setup)
    return setup.network(FromPlans, deep_supervision=False).eval()


def plans_with_network(setup: Setup, trainer: str) -> Plans:
    """Plans whose architecture is what the trainer builds from these, with the gates' settings."""
    trained = setup.network(find_trainer(trainer), deep_supervision=False)
    changed = with_gates(setup)
    if isinstance(trained, GatedNetwork):
        changed = with_gates(setup, type(trained), trained.decoder.config.to_dict())
    again = build(changed)
    if type(again) is not type(trained) or _shapes(again) != _shapes(trained):
        raise InputError(
            f"the trainer {trainer} builds a {type(trained).__name__} that its plans do not name, and a bundle holds "
            f"plans but no trainer: write that network into a plans file and train with it"
        )
    return changed.plans


def _shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}
