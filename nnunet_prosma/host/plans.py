"""Plans, a configuration of them and the data set that they are for: what nnU-Net builds a network from."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_prosma.errors import InputError
from nnunet_prosma.host.check import checked, read_checked
from nnunet_prosma.host.dataset_json import Dataset
from nnunet_prosma.host.schema import Configuration, PlansFile

if TYPE_CHECKING:
    from nnunetv2.utilities.label_handling.label_handling import LabelManager
    from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
    from torch import nn


@dataclass(frozen=True)
class Plans:
    """A plans file. source is what errors call it; content what nnU-Net takes, never to be changed; said its types."""

    source: str
    content: dict[str, Any] = field(repr=False)
    said: PlansFile = field(repr=False)

    @classmethod
    def read(cls, path: Path) -> "Plans":
        return cls(str(path), *read_checked(path, PlansFile))

    @classmethod
    def of(cls, content: Any, source: str) -> "Plans":
        """Plans that stand in another file, such as a checkpoint."""
        return cls(source, content, checked(content, PlansFile, source))

    @property
    def name(self) -> str:
        """The plans' own name, under plans_name."""
        return self.said.plans_name or "None"

    @property
    def dataset(self) -> str:
        """The data set's name, such as Dataset009_Spleen."""
        return self.said.dataset_name or "None"

    @property
    def configurations(self) -> list[str]:
        return list(self.said.configurations)

    @cached_property
    def manager(self) -> "PlansManager":
        """nnU-Net's PlansManager of these plans. It reads the plans' content itself, which nobody changes."""
        from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

        return PlansManager(self.content)

    def reader(self) -> Any:
        """A new object of nnU-Net's class that reads and writes the images of this data set."""
        try:
            return self.manager.image_reader_writer_class()
        except Exception as error:  # nnU-Net looks for a class of that name, and calls what it finds
            raise InputError(
                f"{self.source}: nnU-Net has no reader $.image_reader_writer {self.said.image_reader_writer!r} "
                f"({type(error).__name__})"
            ) from None

    @property
    def unit(self) -> str:
        """mm, or px where nnU-Net's reader knows no spacing."""
        return "px" if self.said.image_reader_writer == "NaturalImage2DIO" else "mm"


@dataclass(frozen=True)
class Setup:
    """One configuration of plans, and the data set: all that a network is built from."""

    plans: Plans
    configuration: str
    dataset: Dataset

    def __post_init__(self) -> None:
        if self.configuration not in self.plans.configurations:
            known = ", ".join(self.plans.configurations) or "none"
            raise InputError(f"{self.plans.source} has no configuration {self.configuration!r}; it has {known}")

    @cached_property
    def manager(self) -> "ConfigurationManager":
        """nnU-Net's ConfigurationManager, with all that it inherits; plans of older versions in the new form."""
        import warnings

        where = f"$.configurations.{self.configuration}"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that the plans are of an older version
                found: ConfigurationManager = self.plans.manager.get_configuration(self.configuration)
        except KeyError as error:
            raise InputError(
                f"{self.plans.source}: {where} has neither architecture, as nnU-Net writes it today, nor "
                f"{error.args[0]}, as older versions did"
            ) from None
        except (RuntimeError, ValueError) as error:
            raise InputError(f"{self.plans.source}: {where}: {' '.join(str(error).split())}") from None
        return found

    @cached_property
    def said(self) -> Configuration:
        """The configuration with all that it inherits, checked."""
        where = f"$.configurations.{self.configuration}"
        return checked(self._resolved, Configuration, self.plans.source, where)

    @cached_property
    def _resolved(self) -> dict[str, Any]:
        own = resolved(self.plans.content["configurations"], self.configuration, self.plans.source)
        if "architecture" in own:
            return own
        return dict(self.manager.configuration)  # of nnU-Net 2.0 to 2.2, brought up to date by nnU-Net, with torch

    def settings(self) -> dict[str, Any]:
        """The configuration as nnU-Net resolves it, with what the plans say for all configurations."""
        shared = {key: value for key, value in self.plans.content.items() if key != "configurations"}
        return {**shared, **self._resolved}

    @property
    def architecture(self) -> dict[str, Any]:
        """What the plans say of the network: its class and its arguments."""
        found: dict[str, Any] = self._resolved["architecture"]
        return found

    @property
    def network_class(self) -> str:
        """The dotted name of the network's class."""
        return self.said.architecture.network_class_name

    @property
    def patch_size(self) -> tuple[int, ...]:
        return tuple(self.said.patch_size)

    @property
    def batch_size(self) -> int:
        return self.said.batch_size

    @property
    def has_strides(self) -> bool:
        """Whether the network's arguments tell strides, as those of nnU-Net's U-Nets do."""
        return "strides" in self.said.architecture.arch_kwargs

    @property
    def stages(self) -> int | None:
        """How many stages the network has, where its arguments tell."""
        found = self.said.architecture.arch_kwargs.get("n_stages")
        return int(found) if found is not None else len(self.strides) if self.has_strides else None

    @property
    def gate(self) -> dict[str, Any] | None:
        """The settings of gates that the plans name; None where they name none."""
        found = self.said.architecture.arch_kwargs.get("gate")
        if found is None:
            return None
        return dict(found) if isinstance(found, dict) else {"kind": found}  # 0.1 wrote "none"

    @property
    def strides(self) -> list[tuple[int, ...]]:
        """The strides of each stage of the encoder, each with a number for each axis."""
        strides = self.said.architecture.arch_kwargs.get("strides")
        axes = len(self.patch_size)
        listed = strides if isinstance(strides, (list, tuple)) else []
        found = [(s,) * axes if isinstance(s, int) else s for s in listed]
        if not found or not all(isinstance(s, (list, tuple)) and _are_sizes(s, axes) for s in found):
            about = f"must hold a number for each of the {axes} axes in each stage, and is {str(strides)[:80]}"
            raise self._wrong("architecture.arch_kwargs.strides", about)
        return [tuple(s) for s in found]

    @cached_property
    def labels(self) -> "LabelManager":
        return self.dataset.manager_for(self.plans)

    @property
    def heads(self) -> int:
        """Outputs of the network: one for each label with the background, or for each region."""
        return int(self.labels.num_segmentation_heads)

    @property
    def input_channels(self) -> int:
        """Channels that the network takes: the image's, and in the second stage of a cascade one for each label."""
        from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels

        return int(determine_num_input_channels(self.plans.manager, self.manager, self.dataset.content))

    def preprocessor(self) -> Any:
        """nnU-Net's class of that name."""
        try:
            found = self.manager.preprocessor_class
        except Exception as error:  # nnU-Net looks for a class of that name
            raise self._wrong("preprocessor_name", f"names no preprocessor of nnU-Net ({error})") from None
        if found is None:
            raise self._wrong("preprocessor_name", f"names no class of nnU-Net: {self.manager.preprocessor_name}")
        return found

    def _wrong(self, key: str, about: str) -> InputError:
        return InputError(f"{self.plans.source}: $.configurations.{self.configuration}.{key} {about}")

    @property
    def previous_stage(self) -> str | None:
        """The stage before in a cascade: the configuration whose segmentations this one takes."""
        found: str | None = self._resolved.get("previous_stage")
        return found

    def one_hot(self, segmentation: Any, dtype: Any) -> Any:
        """A previous stage's segmentation as a cascade's network takes it: one channel for each label."""
        from nnunetv2.utilities.label_handling.label_handling import convert_labelmap_to_one_hot

        return convert_labelmap_to_one_hot(segmentation, self.labels.foreground_labels, dtype)

    def network(self, trainer: Any, deep_supervision: bool, *, new: bool = False) -> "nn.Module":
        """The network as this trainer's class builds it, initialised; new: for a training to come, not as one left it.

        A network that cannot be built is an InputError.
        """
        try:
            to_train = getattr(trainer, "to_train", None) if new else None
            manager = to_train(self.manager) if to_train else self.manager
            built: nn.Module = trainer.build_network_architecture(
                self.plans.manager, manager, self.input_channels, self.heads, deep_supervision
            )
        except InputError:
            raise
        except Exception as error:  # whatever the class that the plans name makes of these arguments
            raise InputError(
                f"{self.plans.source}: the network {self.network_class} of {self.configuration} cannot be built: "
                f"{' '.join(str(error).split()) or type(error).__name__}"
            ) from None
        return built


def resolved(
    configurations: dict[str, Any], name: str, source: str = "the plans", before: tuple[str, ...] = ()
) -> dict[str, Any]:
    """A configuration with all that it inherits; nnU-Net's own way to it imports torch, 2 s."""
    own = configurations[name]
    parent = own.get("inherits_from")
    if parent is None:
        return dict(own)
    if parent in (*before, name) or parent not in configurations:
        raise InputError(
            f"{source}: $.configurations.{name}.inherits_from names {parent}, which is not there or leads back"
        )
    return {**resolved(configurations, parent, source, (*before, name)), **own}


def _are_sizes(values: Any, axes: int) -> bool:
    return len(values) == axes and all(type(v) is int and v >= 1 for v in values)
