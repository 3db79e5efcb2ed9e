"""The training that is to start: its plans, configuration, data set and trainer."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_prosma.architectures.gated_unet import GatedUNet
from nnunet_prosma.errors import InputError
from nnunet_prosma.files import read_json
from nnunet_prosma.host.checkpoints import required

SEED = 0
"""What is new is drawn from this seed, so that the same command writes the same file."""


@dataclass(frozen=True)
class Setup:
    """One training's plans, and the data set that they are for."""

    plans: dict[str, Any]
    configuration: str
    dataset_json: dict[str, Any]

    @property
    def input_channels(self) -> int:
        manager = PlansManager(self.plans)
        return determine_num_input_channels(manager, manager.get_configuration(self.configuration), self.dataset_json)

    @property
    def heads(self) -> int:
        return int(PlansManager(self.plans).get_label_manager(self.dataset_json).num_segmentation_heads)

    def settings(self) -> dict[str, Any]:
        """The configuration, as nnU-Net resolves what it inherits."""
        if self.configuration not in self.plans.get("configurations", {}):
            known = ", ".join(self.plans.get("configurations", {}))
            raise InputError(f"the plans {self.plans.get('plans_name')} have no configuration {self.configuration!r}; "
                             f"they have {known}")  # fmt: skip
        return dict(PlansManager(self.plans).get_configuration(self.configuration).configuration)


def trained_setup(checkpoint: dict[str, Any], path: Path) -> Setup:
    """What the checkpoint was trained with, which nnU-Net keeps in it."""
    plans, configuration, dataset_json = (
        required(checkpoint, path, "init_args", key) for key in ("plans", "configuration", "dataset_json")
    )
    return Setup(plans, configuration, dataset_json)


def wanted_setup(trained: Setup, dataset: str | None, plans: str | None, configuration: str | None) -> Setup:
    """What -d, -p and -c name; what they leave out is as the checkpoint has it."""
    configuration = configuration or trained.configuration
    if dataset is None:
        if plans is not None:
            raise InputError("-p names plans of a data set: name the data set too, with -d")
        return Setup(trained.plans, configuration, trained.dataset_json)
    from nnunetv2.paths import nnUNet_preprocessed
    from nnunetv2.utilities.dataset_name_id_conversion import maybe_convert_to_dataset_name

    if not nnUNet_preprocessed.is_set():
        raise InputError("-d needs nnU-Net's folders: set the environment variable nnUNet_preprocessed")
    try:
        name = maybe_convert_to_dataset_name(int(dataset) if dataset.isdigit() else dataset)
    except (RuntimeError, ValueError) as error:
        raise InputError(f"nnU-Net knows no data set {dataset}: {' '.join(str(error).split())}") from None
    folder = Path(str(nnUNet_preprocessed)) / name
    file = folder / f"{plans or trained.plans['plans_name']}.json"
    for needed in (file, folder / "dataset.json"):
        if not needed.is_file():
            raise InputError(f"{needed} does not exist: plan the data set first, or name its plans with -p")
    return Setup(read_json(file), configuration, read_json(folder / "dataset.json"))


def find_trainer(name: str) -> Any:
    import contextlib
    import io

    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return recursive_find_trainer_class_by_name(name)
    except RuntimeError:
        raise InputError(
            f"nnU-Net finds no trainer {name!r}: see nnunet-prosma doctor, or put its folder into nnUNet_extTrainer"
        ) from None


def build_network(trainer: str, setup: Setup) -> GatedUNet:
    """The network that this trainer starts with, drawn as nnU-Net draws it, with all of its outputs."""
    manager = PlansManager(setup.plans)
    setup.settings()
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        try:
            network = find_trainer(trainer).build_network_architecture(
                manager, manager.get_configuration(setup.configuration), setup.input_channels, setup.heads, True
            )
        except ValueError as error:
            raise InputError(str(error)) from None
    if not isinstance(network, GatedUNet):
        raise InputError(
            f"-tr must name a trainer that gates nnU-Net's network, and {trainer} trains a {type(network).__name__}: "
            f"use nnUNetTrainerProSMA or another one of this package"
        )
    return network
