"""The network that a trainer trained, written into its plans, so that no trainer is needed to build it again."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import nn

from nnunet_prosma.architectures.gated_unet import GatedNetwork
from nnunet_prosma.errors import InputError
from nnunet_prosma.host.trainers import find_trainer


def build(plans: Mapping[str, Any], configuration: str, dataset_json: Mapping[str, Any]) -> nn.Module:
    """As the plans alone have it, by nnU-Net's own function; for inference."""
    manager = PlansManager(dict(plans))
    configured = manager.get_configuration(configuration)
    network: nn.Module = get_network_from_plans(
        configured.network_arch_class_name,
        configured.network_arch_init_kwargs,
        configured.network_arch_init_kwargs_req_import,
        determine_num_input_channels(manager, configured, dict(dataset_json)),
        manager.get_label_manager(dict(dataset_json)).num_segmentation_heads,
        allow_init=False,
        deep_supervision=False,
    )
    return network.eval()


def plans_with_network(
    plans: Mapping[str, Any], configuration: str, dataset_json: Mapping[str, Any], trainer: str
) -> dict[str, Any]:
    """A copy of the plans whose architecture is what the trainer builds from them, with the gates' settings."""
    manager = PlansManager(deepcopy(dict(plans)))
    configured = manager.get_configuration(configuration)
    trained = find_trainer(trainer).build_network_architecture(
        manager,
        configured,
        determine_num_input_channels(manager, configured, dict(dataset_json)),
        manager.get_label_manager(dict(dataset_json)).num_segmentation_heads,
        False,
    )
    architecture = deepcopy(configured.configuration["architecture"])
    if isinstance(trained, GatedNetwork):
        kind = type(trained)
        architecture["network_class_name"] = f"{kind.__module__}.{kind.__qualname__}"
        architecture["arch_kwargs"]["gate"] = trained.decoder.config.to_dict()
    resolved = deepcopy(dict(plans))
    resolved["configurations"][configuration]["architecture"] = architecture
    again = build(resolved, configuration, dataset_json)
    if type(again) is not type(trained) or _shapes(again) != _shapes(trained):
        raise InputError(
            f"the trainer {trainer} builds a {type(trained).__name__} that its plans do not name, and a bundle holds "
            f"plans but no trainer: write that network into a plans file and train with it"
        )
    return resolved


def _shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}
