"""What is measured: plans, one configuration of them, and a dataset.json, from a data set, a file or built in."""

import math
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from nnunet_prosma.errors import InputError
from nnunet_prosma.host.dataset_json import Dataset
from nnunet_prosma.host.datasets import planned_setup
from nnunet_prosma.host.plans import Plans, Setup
from nnunet_prosma.host.topology import strides_and_kernels

LABELS = {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "organ": 1, "lesion": 2}, "file_ending": ".nii.gz"}
"""Of the presets, and of a plans file without a dataset.json beside it: one channel, two structures."""


class Preset(NamedTuple):
    spacing: tuple[float, ...]
    patch: tuple[int, ...]
    batch: int
    blocks: tuple[int, ...]
    """Of each stage of the encoder, as nnU-Net's planner has them; more than one number means residual blocks."""


PRESETS = {
    "3d": Preset((1.0, 1.0, 1.0), (128, 128, 128), 2, (2,)),
    "2d": Preset((1.0, 1.0), (512, 512), 12, (2,)),
    "3d-aniso": Preset((3.6, 0.625, 0.625), (20, 320, 256), 2, (2,)),
    "resenc-m": Preset((1.0, 1.0, 1.0), (128, 128, 128), 2, (1, 3, 4, 6, 6, 6, 6)),
}


@dataclass(frozen=True)
class Setting:
    name: str
    plans: dict[str, Any]
    """With the one configuration, its inheritance resolved."""
    configuration: str
    dataset_json: dict[str, Any]

    @property
    def configured(self) -> dict[str, Any]:
        configured: dict[str, Any] = self.plans["configurations"][self.configuration]
        return configured

    def resized(self, patch: Sequence[int] | None, batch: int | None) -> "Setting":
        """The same network on another patch and batch."""
        plans = deepcopy(self.plans)
        configured = plans["configurations"][self.configuration]
        if patch is not None:
            strides = [
                math.prod(axis) for axis in zip(*configured["architecture"]["arch_kwargs"]["strides"], strict=True)
            ]
            if len(patch) != len(strides) or any(p % s for p, s in zip(patch, strides, strict=True)):
                raise InputError(
                    f"--patch must name {len(strides)} sizes that the network's total strides "
                    f"{' '.join(map(str, strides))} divide, got {' '.join(map(str, patch))}"
                )
            if tuple(patch) == tuple(strides):
                raise InputError(
                    f"--patch {' '.join(map(str, patch))} leaves a single voxel at the bottleneck, which cannot be "
                    f"normalised; name a larger one"
                )
            configured["patch_size"] = list(patch)
        if batch is not None:
            if batch < 1:
                raise InputError(f"--batch must be at least 1, got {batch}")
            configured["batch_size"] = batch
        return Setting(self.name, plans, self.configuration, self.dataset_json)


def from_preset(name: str, other_patch: Sequence[int] | None = None) -> Setting:
    """Plans as nnU-Net's planner makes them for this spacing and patch."""
    if name not in PRESETS:
        raise InputError(f"no preset {name!r}; there are {', '.join(PRESETS)}")
    spacing, patch, batch, blocks = PRESETS[name]
    if other_patch is not None and len(other_patch) == len(patch):
        patch = tuple(other_patch)
    dimensions, residual = len(patch), len(blocks) > 1
    strides, kernels = strides_and_kernels(spacing, patch)
    stages = len(strides)
    if stages < 2:
        raise InputError(f"--patch {' '.join(map(str, patch))} is too small for a U-Net; it takes 8 along some axis")
    most = 512 if dimensions == 2 else 320
    architecture = {
        "network_class_name": "dynamic_network_architectures.architectures.unet."
        + ("ResidualEncoderUNet" if residual else "PlainConvUNet"),
        "arch_kwargs": {
            "n_stages": stages,
            "features_per_stage": [min(32 * 2**stage, most) for stage in range(stages)],
            "conv_op": f"torch.nn.modules.conv.Conv{dimensions}d",
            "kernel_sizes": [list(kernel) for kernel in kernels],
            "strides": [list(stride) for stride in strides],
            "n_blocks_per_stage" if residual else "n_conv_per_stage": list(blocks if residual else blocks * stages)[
                :stages
            ],
            "n_conv_per_stage_decoder": [1 if residual else 2] * (stages - 1),
            "conv_bias": True,
            "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dimensions}d",
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }
    configured = {
        "data_identifier": name,
        "patch_size": list(patch),
        "batch_size": batch,
        "spacing": list(spacing),
        "batch_dice": dimensions == 2,
        "architecture": architecture,
    }
    configuration = "2d" if dimensions == 2 else "3d_fullres"
    plans = {
        "dataset_name": "Dataset000_Preset",
        "plans_name": name,
        "label_manager": "LabelManager",
        "configurations": {configuration: configured},
    }
    return Setting(f"preset {name}", plans, configuration, LABELS)


def from_file(path: Path, configuration: str) -> Setting:
    """A plans file, and the dataset.json beside it, where nnU-Net puts one."""
    beside = path.with_name("dataset.json")
    dataset = Dataset.read(beside) if beside.exists() else Dataset.of(LABELS, "the labels of a benchmark")
    return _of(Setup(Plans.read(path), configuration, dataset))


def from_dataset(dataset: str, configuration: str, plans_name: str) -> Setting:
    """The plans of a data set in nnU-Net's folder of preprocessed data."""
    return _of(planned_setup(dataset, plans_name, configuration))


def _of(setup: Setup) -> Setting:
    setup.said, setup.labels  # noqa: B018 - what is wrong with them is said now
    if "strides" in setup.said.architecture.arch_kwargs:
        setup.strides  # noqa: B018 - as above; networks of other kinds have none
    resolved = deepcopy(setup.manager.configuration)
    plans = {**setup.plans.content, "configurations": {setup.configuration: resolved}}
    return Setting(setup.plans.source, plans, setup.configuration, setup.dataset.content)
