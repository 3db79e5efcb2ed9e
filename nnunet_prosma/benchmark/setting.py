"""What is measured: plans, one configuration of them, and a dataset.json, from a data set, a file or built in."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from nnunet_prosma.errors import InputError
from nnunet_prosma.host.changed import with_size
from nnunet_prosma.host.dataset_json import Dataset
from nnunet_prosma.host.datasets import planned_setup
from nnunet_prosma.host.planning import plans_for_images
from nnunet_prosma.host.plans import Plans, Setup

LABELS = {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "organ": 1, "lesion": 2}, "file_ending": ".nii.gz"}
"""The dataset.json of the presets, and of a plans file without a dataset.json beside it: one channel, two
structures."""


class Preset(NamedTuple):
    """The data set that nnU-Net is asked to plan: images all alike."""

    planner: str
    spacing_mm: tuple[float, ...]
    size: tuple[int, ...]
    images: int
    """How many; so few that the batch is nnU-Net's usual one for smaller patches too: at most 5 % of the data set."""


PRESETS = {
    "3d": Preset("ExperimentPlanner", (1.0, 1.0, 1.0), (128, 128, 128), 40),
    "2d": Preset("ExperimentPlanner", (1.0, 1.0), (512, 512), 240),
    "3d-aniso": Preset("ExperimentPlanner", (3.6, 0.625, 0.625), (20, 320, 256), 40),
    "resenc-m": Preset("nnUNetPlannerResEncM", (1.0, 1.0, 1.0), (128, 128, 128), 40),
}


@dataclass(frozen=True)
class Setting:
    """name is what a report calls it."""

    name: str
    setup: Setup

    @property
    def configuration(self) -> str:
        return self.setup.configuration

    def resized(self, patch: Sequence[int] | None, batch: int | None) -> "Setting":
        """The same network on another patch and batch."""
        if patch is not None:
            strides = [math.prod(axis) for axis in zip(*self.setup.strides, strict=True)]
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
        if batch is not None and batch < 1:
            raise InputError(f"--batch must be at least 1, got {batch}")
        return Setting(self.name, with_size(self.setup, patch, batch))


def from_preset(name: str, other_patch: Sequence[int] | None = None) -> Setting:
    """What nnU-Net plans for the preset's images, or for images as large as other_patch."""
    if name not in PRESETS:
        raise InputError(f"no preset {name!r}; there are {', '.join(PRESETS)}")
    preset = PRESETS[name]
    size = other_patch if other_patch is not None and len(other_patch) == len(preset.size) else preset.size
    plans = plans_for_images(
        preset.planner, spacing_mm=preset.spacing_mm, size=size, images=preset.images, described=LABELS
    )
    configuration = "2d" if len(size) == 2 else "3d_fullres"
    setup = Setup(plans, configuration, Dataset.of(LABELS, f"the labels of preset {name}"))
    if len(setup.strides) < 2:
        raise InputError(f"--patch {' '.join(map(str, size))} is too small for a U-Net; it takes 8 along some axis")
    return Setting(f"preset {name}", setup)


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
    if setup.has_strides:
        setup.strides  # noqa: B018 - as above; networks of other kinds have none
    return Setting(setup.plans.source, setup)
