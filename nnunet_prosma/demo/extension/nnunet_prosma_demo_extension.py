"""The demo's two trainers: nnU-Net's default and ProSMA's, cut to the length that the demo sets.

nnU-Net finds them because the demo lists this directory for the commands that it runs, and for those alone.
"""

import os
from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_prosma.trainers import nnUNetTrainerProSMA


class _Short(nnUNetTrainer):
    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008 - nnU-Net's signature
    ) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = int(os.environ["NNUNET_PROSMA_DEMO_EPOCHS"])
        self.num_iterations_per_epoch = int(os.environ["NNUNET_PROSMA_DEMO_ITERATIONS"])
        self.num_val_iterations_per_epoch = 4

    def initialize(self) -> None:
        super().initialize()
        self.print_to_log_file(f"Parameters: {sum(p.numel() for p in self.network.parameters())}")


class nnUNetTrainerDemo(_Short):
    pass


class nnUNetTrainerProSMADemo(_Short, nnUNetTrainerProSMA):
    pass
