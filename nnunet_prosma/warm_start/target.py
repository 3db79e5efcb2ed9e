"""The training that a checkpoint comes from, the one that is to start, and the network of each."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nnunet_prosma.architectures.gated_unet import GatedNetwork
from nnunet_prosma.errors import InputError
from nnunet_prosma.host.checkpoints import facts_of, required
from nnunet_prosma.host.dataset_json import Dataset
from nnunet_prosma.host.datasets import planned_setup
from nnunet_prosma.host.plans import Plans, Setup
from nnunet_prosma.host.trainers import STOCK, find_trainer

SEED = 0
"""What is new is drawn from this seed, so that the same command writes the same file."""


def trained_setup(checkpoint: dict[str, Any], path: Path) -> Setup:
    """What the checkpoint was trained with, which nnU-Net keeps in it."""
    configuration = facts_of(checkpoint, path).init_args.configuration
    plans = Plans.of(required(checkpoint, path, "init_args", "plans"), f"{path}, init_args/plans")
    dataset = Dataset.of(required(checkpoint, path, "init_args", "dataset_json"), f"{path}, init_args/dataset_json")
    return Setup(plans, configuration, dataset)


def wanted_setup(trained: Setup, dataset: str | None, plans: str | None, configuration: str | None) -> Setup:
    """What -d, -p and -c name; what they leave out is as the checkpoint has it."""
    configuration = configuration or trained.configuration
    if dataset is None:
        if plans is not None:
            raise InputError("-p names plans of a data set: name the data set too, with -d")
        return Setup(trained.plans, configuration, trained.dataset)
    return planned_setup(dataset, plans or trained.plans.name, configuration)


def build_network(trainer: str, setup: Setup, deep_supervision: bool = True) -> GatedNetwork:
    """The network that this trainer starts with, drawn as nnU-Net draws it, with as many outputs as the checkpoint."""
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        network = setup.network(find_trainer(trainer), deep_supervision, new=True)
    if not isinstance(network, GatedNetwork) or not network.decoder.gated():
        raise InputError(
            f"-tr must name a trainer that gates nnU-Net's network, and {trainer} trains a {type(network).__name__}: "
            f"use nnUNetTrainerProSMA or another one of this package"
        )
    return network


def vanilla_network(setup: Setup, trainer: str = STOCK, deep_supervision: bool = True) -> nn.Module:
    """The network without gates, to hold the gated one against, of the trainer if it is there, else of nnU-Net's."""
    try:
        found = find_trainer(trainer)
    except InputError:
        found = find_trainer(STOCK)
    return setup.network(found, deep_supervision)


def has_all_outputs(weights: Mapping[str, Any]) -> bool:
    """A P-UNET that was trained without deep supervision has its last segmentation layer alone."""
    return any(key.startswith("decoder.seg_layers.0.") for key in weights)


def smallest_size(setup: Setup) -> list[int]:
    """An image of four voxels along each axis at the bottleneck, or of the patch where that is smaller."""
    size = []
    for axis, patch in enumerate(setup.patch_size):
        whole = 4
        for stride in setup.strides:
            whole *= stride[axis]
        size.append(min(whole, patch))
    return size


def first_weight(network: nn.Module) -> str:
    """The key of the one weight that meets the input's channels."""
    return next(key for key, value in network.state_dict().items() if value.ndim > 2)
