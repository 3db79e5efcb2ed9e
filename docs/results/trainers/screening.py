"""nnU-Net's trainer and gated ones, cut to so many epochs of 100 batches: for a machine without a GPU."""

from typing import Any, ClassVar

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import nn

from nnunet_prosma.decoder import gates_of
from nnunet_prosma.trainers import (
    nnUNetTrainerAttentionGate,
    nnUNetTrainerProSMA,
    nnUNetTrainerProSMA_coarse3,
    nnUNetTrainerProSMA_open,
    nnUNetTrainerProSMA_residual,
)


class nnUNetTrainer_15x100(nnUNetTrainer):
    epochs = 15

    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008 - nnU-Net's signature
    ) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs, self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = self.epochs, 100, 5


class nnUNetTrainer_30x100(nnUNetTrainer_15x100):
    epochs = 30


class nnUNetTrainer_60x100(nnUNetTrainer_15x100):
    epochs = 60


class nnUNetTrainer_120x100(nnUNetTrainer_15x100):
    epochs = 120


class nnUNetTrainer_240x100(nnUNetTrainer_15x100):
    epochs = 240


class nnUNetTrainerAgain_30x100(nnUNetTrainer_30x100):
    """Vanilla once more: what it differs by from vanilla is noise."""


class nnUNetTrainerProSMA_30x100(nnUNetTrainerProSMA, nnUNetTrainer_30x100):
    pass


class nnUNetTrainerProSMA_120x100(nnUNetTrainerProSMA, nnUNetTrainer_120x100):
    pass


class nnUNetTrainerProSMA_residual_30x100(nnUNetTrainerProSMA_residual, nnUNetTrainer_30x100):
    pass


class nnUNetTrainerProSMA_residualChannels_30x100(nnUNetTrainerProSMA_residual_30x100):
    """An alpha for each channel of a skip, in the place of one for each gate. Such gates take the definition's path."""

    @classmethod
    def build_network_architecture(cls, plans_manager: PlansManager, *further: Any) -> nn.Module:
        network = super().build_network_architecture(plans_manager, *further)
        for _, gate in gates_of(network):
            channels, axes = gate.skip_proj.in_channels, len(gate.spatial_axes)
            gate.alpha = nn.Parameter(torch.zeros(channels, *[1] * axes))
        return network

    def on_train_end(self) -> None:
        super().on_train_end()
        for number, gate in gates_of(self.network):
            alphas = sorted(gate.alpha.flatten().tolist())
            low, middle, high = alphas[0], alphas[len(alphas) // 2], alphas[-1]
            self.print_to_log_file(f"nnunet-prosma: alphas of gate {number}: {low:.2f}, {middle:.2f}, {high:.2f}")


class nnUNetTrainerProSMA_open_30x100(nnUNetTrainerProSMA_open, nnUNetTrainer_30x100):
    pass


class nnUNetTrainerProSMA_open_120x100(nnUNetTrainerProSMA_open, nnUNetTrainer_120x100):
    pass


class nnUNetTrainerProSMA_openResidual_30x100(nnUNetTrainerProSMA_30x100):
    gate_settings: ClassVar[dict[str, Any]] = {"kind": "prosma", "start": "open", "residual": True}


class nnUNetTrainerProSMA_openFast_30x100(nnUNetTrainerProSMA_open_30x100):
    """The slope of an open sigmoid is 0.09 where that of a half-open one is 0.25: the rate makes up for it."""

    gate_lr_factor = 3


class nnUNetTrainerProSMA_coarse3_30x100(nnUNetTrainerProSMA_coarse3, nnUNetTrainer_30x100):
    pass


class nnUNetTrainerProSMA_coarse2_30x100(nnUNetTrainerProSMA_30x100):
    """Hippocampus' network has three skips: these are all but the finest, as the three coarsest are on Kvasir-SEG."""

    gate_settings: ClassVar[dict[str, Any]] = {"kind": "prosma", "stages": 2}


class nnUNetTrainerAttentionGate_30x100(nnUNetTrainerAttentionGate, nnUNetTrainer_30x100):
    pass
