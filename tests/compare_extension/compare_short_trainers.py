"""Trainings of one epoch and two iterations."""

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_prosma.trainers import nnUNetTrainerProSMA


class _Short(nnUNetTrainer):
    def __init__(self, plans: dict, configuration: str, fold: int, dataset_json: dict, device=torch.device("cpu")):  # noqa: B008
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = 1
        self.num_iterations_per_epoch = 2
        self.num_val_iterations_per_epoch = 1


class nnUNetTrainerShort(_Short):
    pass


class nnUNetTrainerProSMAShort(nnUNetTrainerProSMA, _Short):
    pass
