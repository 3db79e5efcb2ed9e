"""P-UNET under the paper's protocol: the gate of the paper, the ablation of its Table 3, and its dense baseline."""

from collections.abc import Mapping
from copy import deepcopy
from math import ceil, prod
from typing import Any, ClassVar

import torch
from dynamic_network_architectures.building_blocks.helper import maybe_convert_scalar_to_list
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager

from nnunet_prosma.architectures.p_unet import LEVELS, PUNet
from nnunet_prosma.trainers.mixin import ProSMATrainerMixin
from nnunet_prosma.trainers.protocol import nnUNetTrainerPaperProtocol

NAME = f"{PUNet.__module__.rpartition('.')[0]}.{PUNet.__name__}"
BATCH_2D = 8
LENGTHS = (1, 5, 10, 20, 50, 100, 200)


class nnUNetTrainerPUNet(ProSMATrainerMixin, nnUNetTrainerPaperProtocol):
    """P-UNET as the paper describes and trains it, on any plans.

    Works on a copy of the plans, which nnU-Net then saves beside the model. Plans that name a P-UNET keep their
    network, patch and batch. Of others the copy names a P-UNET for the configuration's dimension; in 2D the patch is
    the median image and the batch 8. In 3D, where the paper says nothing, patch and batch stay the planner's.
    """

    gate_settings: ClassVar[Mapping[str, Any]] = {"kind": "prosma"}
    gate_settings_0_1: ClassVar[Mapping[str, Any]] = {"kind": "prosma"}

    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008 - nnU-Net's signature
    ) -> None:
        super().__init__(self._with_p_unet(plans, configuration), configuration, fold, dataset_json, device)

    @classmethod
    def _with_p_unet(cls, plans: dict[str, Any], configuration: str) -> dict[str, Any]:
        """A copy of the plans in which this configuration is the protocol's."""
        from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

        plans = deepcopy(plans)
        settings = deepcopy(PlansManager(plans).get_configuration(configuration).configuration)
        if not _names_p_unet(settings):
            settings["architecture"] = p_unet_architecture(settings)
            strides = settings["architecture"]["arch_kwargs"]["strides"]
            if len(settings["patch_size"]) == 2:
                settings["patch_size"] = list(settings["median_image_size_in_voxels"])
                settings["batch_size"] = BATCH_2D
            divisors = [prod(axis) for axis in zip(*strides, strict=True)]
            settings["patch_size"] = [
                ceil(size / divisor) * divisor for size, divisor in zip(settings["patch_size"], divisors, strict=True)
            ]
        plans["configurations"][configuration] = settings
        return plans

    @classmethod
    def _with_gates(cls, configuration_manager: ConfigurationManager) -> ConfigurationManager:
        """In prediction the plans are those saved beside the model; others are turned into them here as well."""
        configuration = deepcopy(configuration_manager.configuration)
        if not _names_p_unet(configuration):
            configuration["architecture"] = p_unet_architecture(configuration)
        return super()._with_gates(ConfigurationManager(configuration))


class nnUNetTrainerPUNet_noGate(nnUNetTrainerPUNet):
    gate_settings = {"kind": "none"}


class nnUNetTrainerPUNet_spatialOnly(nnUNetTrainerPUNet):
    gate_settings = {"kind": "prosma", "channel": False}


class nnUNetTrainerPUNet_channelOnly(nnUNetTrainerPUNet):
    gate_settings = {"kind": "prosma", "spatial": False}


class nnUNetTrainerPUNet_attentionGate(nnUNetTrainerPUNet):
    gate_settings = {"kind": "attention"}


def p_unet_architecture(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """What plans hold under architecture: a P-UNET of this configuration's dimension.

    Kernels of the levels are 3 and their poolings 2, but along an axis where the planner does not pool yet, as between
    thick slices, both are 1 for as long.
    """
    planned = configuration["architecture"]["arch_kwargs"]
    dimensions = len(configuration["patch_size"])
    conv_op = {2: torch.nn.Conv2d, 3: torch.nn.Conv3d}[dimensions]
    strides = [[1] * dimensions, *([2] * dimensions for _ in range(LEVELS - 1))]
    kernels = [[3] * dimensions for _ in range(LEVELS)]
    for level, (kernel, stride) in enumerate(
        zip(planned.get("kernel_sizes", []), planned.get("strides", []), strict=False)
    ):
        if level == LEVELS or dimensions == 2:
            break
        stride = maybe_convert_scalar_to_list(conv_op, stride)
        kernel = maybe_convert_scalar_to_list(conv_op, kernel)
        kernels[level] = [1 if k == 1 else 3 for k in kernel]
        if level:
            strides[level] = [1 if s == 1 else 2 for s in stride]
    return {
        "network_class_name": NAME,
        "arch_kwargs": {
            "n_stages": LEVELS,
            "conv_op": f"{conv_op.__module__}.{conv_op.__qualname__}",
            "kernel_sizes": kernels,
            "strides": strides,
        },
        "_kw_requires_import": ["conv_op"],
    }


def _names_p_unet(configuration: Mapping[str, Any]) -> bool:
    return str(configuration["architecture"]["network_class_name"]).rpartition(".")[-1] == PUNet.__name__


__all__ = [
    "nnUNetTrainerPUNet",
    "nnUNetTrainerPUNet_attentionGate",
    "nnUNetTrainerPUNet_channelOnly",
    "nnUNetTrainerPUNet_noGate",
    "nnUNetTrainerPUNet_spatialOnly",
]

for _name in list(__all__):
    for _epochs in LENGTHS:
        _length = f"{_name}_{_epochs}epoch{'s' if _epochs > 1 else ''}"
        globals()[_length] = type(_length, (globals()[_name],), {"__module__": __name__, "epochs": _epochs})
        __all__.append(_length)
