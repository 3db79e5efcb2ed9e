"""The network that a trainer trained, written into its plans, so that no trainer is needed to build it again."""

import re
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from torch import nn

from nnunet_prosma.architectures.gated_unet import GatedNetwork
from nnunet_prosma.bundle.allowed import require_allowed
from nnunet_prosma.errors import InputError
from nnunet_prosma.host.dataset_json import Dataset
from nnunet_prosma.host.plans import Plans, Setup
from nnunet_prosma.host.stand_ins import FromPlans
from nnunet_prosma.host.trainers import find_trainer


def read_setup(folder: Path, configuration: str) -> Setup:
    """Of a bundle's model, once it names nothing but what a bundle may use."""
    setup = Setup(Plans.read(folder / "plans.json"), configuration, Dataset.read(folder / "dataset.json"))
    require_allowed(setup)
    ending = setup.dataset.file_ending
    if not re.fullmatch(r"[\w.]+", ending):
        raise InputError(f"{setup.dataset.source}: $.file_ending must be such as .nii.gz, got {ending!r}")
    return setup


def build(setup: Setup) -> nn.Module:
    """As the plans alone have it, by nnU-Net's own function; for inference."""
    require_allowed(setup)
    return setup.network(FromPlans, deep_supervision=False).eval()


def plans_with_network(
    plans: Mapping[str, Any], configuration: str, dataset_json: Mapping[str, Any], trainer: str
) -> dict[str, Any]:
    """A copy of the plans whose architecture is what the trainer builds from them, with the gates' settings."""
    described = Dataset.of(dict(dataset_json), "dataset.json")
    setup = Setup(Plans.of(deepcopy(dict(plans)), "plans.json"), configuration, described)
    trained = setup.network(find_trainer(trainer), deep_supervision=False)
    architecture = deepcopy(setup.manager.configuration["architecture"])
    if isinstance(trained, GatedNetwork):
        kind = type(trained)
        architecture["network_class_name"] = f"{kind.__module__}.{kind.__qualname__}"
        architecture["arch_kwargs"]["gate"] = trained.decoder.config.to_dict()
    resolved = deepcopy(dict(plans))
    resolved["configurations"][configuration]["architecture"] = architecture
    again = build(Setup(Plans.of(resolved, "plans.json"), configuration, described))
    if type(again) is not type(trained) or _shapes(again) != _shapes(trained):
        raise InputError(
            f"the trainer {trainer} builds a {type(trained).__name__} that its plans do not name, and a bundle holds "
            f"plans but no trainer: write that network into a plans file and train with it"
        )
    return resolved


def _shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}
