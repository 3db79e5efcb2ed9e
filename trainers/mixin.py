"""What makes an nnU-Net trainer train a gated network."""

from collections.abc import Container, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from importlib.metadata import version
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn
from torch.optim import Optimizer

from nnunet_prosma import __version__
from nnunet_prosma.architectures.gated_unet import GatedNetwork
from nnunet_prosma.architectures.twins import gated_twin
from nnunet_prosma.decoder import describe_gates, gates_of, told_settings
from nnunet_prosma.gate import GateConfig
from nnunet_prosma.trainers.paths import choose_paths_for
from nnunet_prosma.trainers.recording import GateRecordMixin
from nnunet_prosma.watch.observe import bare

if TYPE_CHECKING:
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer as _Host
else:
    _Host = object


RECORD = "nnunet_prosma"
"""The key under which a trained configuration of the plans tells its gates' settings."""
PER_GROUP = ("base_lrs", "max_lrs", "min_lrs", "lr_lambdas", "_last_lr", "base_momentums", "max_momentums")
"""Lists of torch's schedulers with an entry for each group."""


class ProSMATrainerMixin(GateRecordMixin, _Host):
    """Stands before any nnU-Net trainer among a class's bases, and puts gates on the skips of what that one trains.

    class nnUNetTrainerProSMADA5(ProSMATrainerMixin, nnUNetTrainerDA5):
        pass
    """

    gate_settings: ClassVar[Mapping[str, Any]] = {}
    """Settings of GateConfig that this trainer insists on; they are applied on top of those of the plans."""
    gate_settings_0_1: ClassVar[Mapping[str, Any]]
    """What they were in version 0.1, whose checkpoints do not tell; set where gate_settings may have changed since."""
    gate_lr_factor: ClassVar[float] = 1
    """The gates learn at so many times the rate of the rest."""
    nnunet_version: ClassVar[str] = version("nnunetv2")
    """nnU-Net writes every attribute of a trainer into debug.json, but its own version nowhere."""
    nnunet_prosma_version: ClassVar[str] = __version__

    _gates: GateConfig | None = None
    _faster: Mapping[int, int] = MappingProxyType({})
    """Group of gates that learn at a rate of their own -> group that it was split from."""

    @classmethod
    def build_network_architecture(
        cls,
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = True,
    ) -> nn.Module:
        """The host trainer's network, built from a copy of the plans that names the gated twin of its class."""
        network = super().build_network_architecture(
            plans_manager,
            cls._with_gates(configuration_manager),
            num_input_channels,
            num_output_channels,
            enable_deep_supervision,
        )
        if isinstance(network, GatedNetwork):
            if recorded_gates(configuration_manager.configuration) is not None:
                with suppress(ValueError):  # a class that sets other gates by now: what is recorded is what was trained
                    network.untold = cls.untold_gates(configuration_manager.configuration)
        else:
            raise ValueError(
                f"no gates can be set by {cls.__name__}: its nnU-Net trainer builds a {type(network).__name__} of its "
                f"own instead of the network that the plans name; combine ProSMATrainerMixin with a trainer that "
                f"builds the plans' PlainConvUNet, ResidualEncoderUNet or ResidualUNet"
            )
        return network

    @classmethod
    def _with_gates(cls, configuration_manager: ConfigurationManager) -> ConfigurationManager:
        configuration = deepcopy(configuration_manager.configuration)
        architecture = configuration["architecture"]
        twin = gated_twin(architecture["network_class_name"])
        architecture["network_class_name"] = f"{twin.__module__}.{twin.__qualname__}"
        architecture["arch_kwargs"]["gate"] = cls.trained_gates(configuration).to_dict()
        return ConfigurationManager(configuration)

    @classmethod
    def to_train(cls, configuration_manager: ConfigurationManager) -> ConfigurationManager:
        """What build_network_architecture is to be given for a new training: it takes plans without a record for those
        that version 0.1 left."""
        configuration = configuration_manager.configuration
        return ConfigurationManager(with_record(configuration, cls.gates_to_train(configuration)))

    @classmethod
    def gates_to_train(cls, configuration: Mapping[str, Any]) -> GateConfig:
        """The settings of a new training: this class's settings on top of those that the plans hold."""
        return cls._on_top_of(configuration, cls.gate_settings)

    @classmethod
    def trained_gates(cls, configuration: Mapping[str, Any]) -> GateConfig:
        """The settings of what was trained: those recorded with it; version 0.1 recorded none."""
        recorded = recorded_gates(configuration)
        return cls.untold_gates(configuration) if recorded is None else recorded

    @classmethod
    def untold_gates(cls, configuration: Mapping[str, Any]) -> GateConfig:
        """What version 0.1 trained by this class and these plans."""
        nearest = next(vars(base) for base in cls.__mro__ if "gate_settings" in vars(base))
        return cls._on_top_of(configuration, nearest.get("gate_settings_0_1", nearest["gate_settings"]))

    @classmethod
    def _on_top_of(cls, configuration: Mapping[str, Any], settings: Mapping[str, Any]) -> GateConfig:
        planned = GateConfig.of(configuration["architecture"]["arch_kwargs"].get("gate"))
        if planned.kind == "none" and settings.get("kind") != "none":
            raise ValueError(
                f'the plans ask for plain skips (gate "none"), and {cls.__name__} sets gates on them: train with '
                f"nnUNetTrainer or nnUNetTrainerPUNet_noGate, or with plans that hold other gate settings or none"
            )
        return planned.switched(settings)

    def initialize(self) -> None:
        if not self.was_initialized:
            self._record_settings(self._gates or self.gates_to_train(self.configuration_manager.configuration))
        super().initialize()
        choose_paths_for(self)
        bare(self.network).untold = None  # load_checkpoint knows more
        self.print_to_log_file(describe_gates(self.network), add_timestamp=False)

    def _record_settings(self, gates: GateConfig) -> None:
        """Records the settings in this trainer's plans, which nnU-Net saves beside the model and in each checkpoint;
        a copy of those given.

        What predicts, resumes, inspects and bundles builds from them, whatever this class's settings are by then.
        """
        self._gates = gates
        trained = with_record(self.configuration_manager.configuration, gates)
        self.configuration_manager: Any = ConfigurationManager(trained)
        plans, key = self.plans_manager.plans, self.configuration_name
        configurations = {**plans["configurations"], key: with_record(plans["configurations"][key], gates)}
        self.plans_manager: Any = PlansManager({**plans, "configurations": configurations})
        self.my_init_kwargs: Any = {**self.my_init_kwargs, "plans": self.plans_manager.plans}

    def configure_optimizers(self, *args: Any, **kwargs: Any) -> tuple[Optimizer, Any]:
        """The host's, with thresholds and alphas in groups of their own: weight decay would pull every lam to ln 2."""
        before: Any = getattr(self, "optimizer", None)
        optimizer, scheduler = super().configure_optimizers(*args, **kwargs)
        if optimizer is before:  # a host with a warm-up asks again, for another schedule
            return optimizer, scheduler
        gates = [gate for _, gate in gates_of(self.network)]
        undecayed = {p for gate in gates for name, p in gate.named_parameters() if name in ("theta", "alpha")}
        of_gates = {p for gate in gates for p in gate.parameters()} if self.gate_lr_factor != 1 else set()
        self._faster = split_groups(optimizer, scheduler, of_gates)
        for index, group in enumerate(list(optimizer.param_groups)):
            if group.get("weight_decay", 0):
                added = split_groups(optimizer, scheduler, undecayed, [index], weight_decay=0.0)
                again = {new: self._faster[old] for new, old in added.items() if old in self._faster}
                self._faster = {**self._faster, **again}
        return optimizer, scheduler

    def on_train_epoch_start(self) -> None:
        super().on_train_epoch_start()  # nnU-Net's schedule gives every group the same rate
        for new, old in self._faster.items():
            groups = self.optimizer.param_groups
            groups[new]["lr"] = self.gate_lr_factor * groups[old]["lr"]

    def on_train_end(self) -> None:
        super().on_train_end()
        if self.device.type == "cuda":
            peak_gib = torch.cuda.max_memory_allocated(self.device) / 2**30
            self.print_to_log_file(f"Peak memory: {peak_gib:.2f} GiB", add_timestamp=False)

    def load_checkpoint(self, *given: Any, **named: Any) -> None:
        """Loads as the host does, into gates of the checkpoint's own settings; a file that cannot be used is named.

        The host calls its one parameter filename_or_checkpoint, and in later versions checkpoint: it has either name.
        """
        (checkpoint,) = (*given, *named.values())
        try:
            self._take_settings_of(checkpoint)
            super().load_checkpoint(checkpoint)
        except Exception as error:
            raise RuntimeError(f"cannot load the checkpoint {checkpoint}: {error}") from error
        self.my_init_kwargs = {**self.my_init_kwargs, "plans": self.plans_manager.plans}  # with the gates' settings

    def _take_settings_of(self, checkpoint: Any) -> None:
        if not isinstance(checkpoint, dict):
            checkpoint = torch.load(checkpoint, map_location="cpu", weights_only=False)  # as the host does
        gates = told_settings(checkpoint["network_weights"])
        arguments = checkpoint["init_args"]
        if gates is None and "plans" in arguments:  # of version 0.1
            manager = PlansManager(arguments["plans"])
            gates = self.trained_gates(manager.get_configuration(arguments["configuration"]).configuration)
        if not self.was_initialized:
            self._gates = gates
        elif gates is not None and self._gates is not None and (differing := gates.differences(self._gates)):
            raise ValueError(f"its gates were trained with other settings ({', '.join(differing)})")


def recorded_gates(configuration: Mapping[str, Any]) -> GateConfig | None:
    """What a training recorded in its plans; None where the plans are a planner's, or version 0.1 trained."""
    record = configuration.get(RECORD)
    return None if record is None else GateConfig.of(record["gate"])


def with_record(configuration: Mapping[str, Any], gates: GateConfig) -> dict[str, Any]:
    return {**configuration, RECORD: {"gate": gates.to_dict(), "version": __version__}}


def split_groups(
    optimizer: Optimizer,
    scheduler: Any,
    chosen: Container[nn.Parameter],
    among: Sequence[int] | None = None,
    **own: Any,
) -> dict[int, int]:
    """Moves what is chosen of each group (or of those among them) into a group of its own: new index by old."""
    added = {}
    for index in range(len(optimizer.param_groups)) if among is None else among:
        group = optimizer.param_groups[index]
        held = [p for p in group["params"] if p in chosen]
        if held:
            group["params"] = [p for p in group["params"] if p not in chosen]
            optimizer.add_param_group({**group, "params": held, **own})
            _schedule_like(scheduler, index)
            added[len(optimizer.param_groups) - 1] = index
    return added


def _schedule_like(scheduler: Any, index: int) -> None:
    """Give torch's schedulers, which keep a list with an entry a group, an entry for a group just added."""
    for name in PER_GROUP:
        entries = getattr(scheduler, name, None)
        if isinstance(entries, list):
            entries.append(entries[index])
    for inner in getattr(scheduler, "_schedulers", []):
        _schedule_like(inner, index)
