"""What makes an nnU-Net trainer train a gated network."""

from collections.abc import Mapping
from copy import deepcopy
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn
from torch.optim import Optimizer

from nnunet_prosma import __version__
from nnunet_prosma.architectures.gated_unet import GatedNetwork
from nnunet_prosma.architectures.twins import gated_twin
from nnunet_prosma.decoder import describe_gates, gates_of
from nnunet_prosma.gate import GateConfig
from nnunet_prosma.trainers.paths import choose_paths_for
from nnunet_prosma.trainers.recording import GateRecordMixin

if TYPE_CHECKING:
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer as _Host
else:
    _Host = object


class ProSMATrainerMixin(GateRecordMixin, _Host):
    """Stands before any nnU-Net trainer among a class's bases, and puts gates on the skips of what that one trains.

    class nnUNetTrainerProSMADA5(ProSMATrainerMixin, nnUNetTrainerDA5):
        pass
    """

    gate_settings: ClassVar[Mapping[str, Any]] = {}
    """Settings of GateConfig that this trainer insists on; they are applied on top of those of the plans."""
    nnunet_version: ClassVar[str] = version("nnunetv2")
    """nnU-Net writes every attribute of a trainer into debug.json, but its own version nowhere."""
    nnunet_prosma_version: ClassVar[str] = __version__

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
        if not isinstance(network, GatedNetwork):
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
        settings = {**GateConfig.of(architecture["arch_kwargs"].get("gate")).to_dict(), **cls.gate_settings}
        architecture["network_class_name"] = f"{twin.__module__}.{twin.__qualname__}"
        architecture["arch_kwargs"]["gate"] = GateConfig.of(settings).to_dict()
        return ConfigurationManager(configuration)

    def initialize(self) -> None:
        super().initialize()
        choose_paths_for(self)
        self.print_to_log_file(describe_gates(self.network), add_timestamp=False)

    def configure_optimizers(self, *args: Any, **kwargs: Any) -> tuple[Optimizer, Any]:
        """The host's, with the thresholds in groups of their own: weight decay would pull every lam to ln 2."""
        optimizer, scheduler = super().configure_optimizers(*args, **kwargs)
        thresholds = {gate.theta for _, gate in gates_of(self.network) if hasattr(gate, "theta")}
        for index, group in enumerate(list(optimizer.param_groups)):
            held = [p for p in group["params"] if p in thresholds]
            if held and group.get("weight_decay", 0):
                group["params"] = [p for p in group["params"] if p not in thresholds]
                optimizer.add_param_group({**group, "params": held, "weight_decay": 0.0})
                _schedule_like(scheduler, index)
        return optimizer, scheduler

    def on_train_end(self) -> None:
        super().on_train_end()
        if self.device.type == "cuda":
            peak_gib = torch.cuda.max_memory_allocated(self.device) / 2**30
            self.print_to_log_file(f"Peak memory: {peak_gib:.2f} GiB", add_timestamp=False)

    def load_checkpoint(self, filename_or_checkpoint: dict[str, Any] | str) -> None:
        """As the host's; a file that cannot be used is named, in one sentence."""
        try:
            super().load_checkpoint(filename_or_checkpoint)
        except Exception as error:
            raise RuntimeError(f"cannot load the checkpoint {filename_or_checkpoint}: {error}") from error


def _schedule_like(scheduler: Any, index: int) -> None:
    """Give torch's schedulers, which keep a list with an entry a group, an entry for a group just added."""
    for name in ("base_lrs", "lr_lambdas", "_last_lr"):
        entries = getattr(scheduler, name, None)
        if isinstance(entries, list):
            entries.append(entries[index])
    for inner in getattr(scheduler, "_schedulers", []):
        _schedule_like(inner, index)
