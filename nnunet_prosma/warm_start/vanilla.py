"""The network without gates, to hold the gated one against."""

from typing import Any

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import nn

from nnunet_prosma.warm_start.target import Setup


def vanilla_network(setup: Setup) -> nn.Module:
    manager = PlansManager(setup.plans)
    network: nn.Module = nnUNetTrainer.build_network_architecture(
        manager, manager.get_configuration(setup.configuration), setup.input_channels, setup.heads, True
    )
    return network


def smallest_size(setup: Setup) -> list[int]:
    """An image of four voxels along each axis at the bottleneck, or of the patch where that is smaller."""
    configuration = setup.settings()
    strides = configuration["architecture"]["arch_kwargs"]["strides"]
    size = []
    for axis, patch in enumerate(configuration["patch_size"]):
        whole = 4
        for stride in strides:
            whole *= stride[axis] if isinstance(stride, (list, tuple)) else stride
        size.append(min(whole, int(patch)))
    return size


def first_weight(network: Any) -> str:
    """The key of the one weight that meets the input's channels."""
    return next(key for key, value in network.state_dict().items() if value.ndim > 2)
