"""nnU-Net's trainer and ours, both cut to 10 epochs of 50 batches: for a machine without a GPU."""

from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_prosma.trainers import nnUNetTrainerProSMA


class nnUNetTrainer_10x50(nnUNetTrainer):
    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008 - nnU-Net's signature
    ) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs, self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = 10, 50, 5


class nnUNetTrainerProSMA_10x50(nnUNetTrainerProSMA, nnUNetTrainer_10x50):
    pass
