"""Trainings of seconds, otherwise nnU-Net's own and ours."""

import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.training.nnUNetTrainer.variants.network_architecture.nnUNetTrainerNoDeepSupervision import (
    nnUNetTrainerNoDeepSupervision,
)

from nnunet_prosma.trainers import (
    ProSMATrainerMixin,
    nnUNetTrainerAttentionGate,
    nnUNetTrainerProSMA,
    nnUNetTrainerProSMA_channelOnly,
    nnUNetTrainerProSMA_hardRemoval,
    nnUNetTrainerProSMA_spatialOnly,
    nnUNetTrainerPUNet,
    nnUNetTrainerPUNet_noGate,
)

torch.set_num_threads(1)  # nnU-Net's commands ask for all cores, which other tests work on


class _Short(nnUNetTrainer):
    """Two epochs of a few iterations, seeded anew at the start of each; killed where SHORT_TRAINER_DIES_IN says."""

    def __init__(self, plans: dict, configuration: str, fold: int, dataset_json: dict, device=torch.device("cpu")):  # noqa: B008
        torch.manual_seed(0)  # initial weights
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = int(os.environ.get("SHORT_TRAINER_EPOCHS", "2"))
        self.num_iterations_per_epoch = 6
        self.num_val_iterations_per_epoch = 2
        self.save_every = int(os.environ.get("SHORT_TRAINER_SAVES_EVERY", "1"))
        # drawn, nnU-Net's picture takes longer than the epoch; that there is one is asked for by its export to a zip
        self.logger.plot_progress_png = lambda folder: Path(folder, "progress.png").touch()

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self):  # noqa: N802
        """Mirrored along one axis at most: two passes for each window of a validation in the place of eight."""
        *others, axes = super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        allowed = self.inference_allowed_mirroring_axes  # None where a trainer does not mirror in prediction
        self.inference_allowed_mirroring_axes = allowed and allowed[:1]
        return *others, axes

    def on_epoch_start(self):
        super().on_epoch_start()
        for seed in (random.seed, np.random.seed, torch.manual_seed):
            seed(self.current_epoch)

    def train_step(self, batch: dict) -> dict:
        result = super().train_step(batch)
        if str(self.current_epoch) == os.environ.get("SHORT_TRAINER_DIES_IN"):
            os.kill(os.getpid(), signal.SIGKILL)
        self.steps = getattr(self, "steps", 0) + 1
        signalled = str(self.current_epoch) == os.environ.get("SHORT_TRAINER_SIGNALLED_IN")
        if signalled and self.steps % 6 == 4 and self.local_rank == 0:
            os.kill(os.getppid() if self.is_ddp else os.getpid(), signal.SIGUSR1)
        if self.current_epoch == 1 and "SHORT_TRAINER_HOLDS" in os.environ:
            self.hold(Path(os.environ["SHORT_TRAINER_HOLDS"]) / f"{type(self).__name__}_{self.fold}")
        return result

    def hold(self, file: Path) -> None:
        """Where the test put this file: tells that the epoch runs, and waits in it for a signal or for its death."""
        if file.exists():
            file.rename(file.with_suffix(".held"))
            while getattr(getattr(signal.getsignal(signal.SIGUSR1), "__self__", None), "signal", None) is None:
                time.sleep(0.05)


class nnUNetTrainerShort(_Short):
    pass


class nnUNetTrainerRanksShort(_Short):
    """Its ranks are on the CPU, where nnU-Net puts them on GPUs."""

    def __init__(self, plans: dict, configuration: str, fold: int, dataset_json: dict, device=torch.device("cpu")):  # noqa: B008
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.device, self.grad_scaler = torch.device("cpu"), None


class nnUNetTrainerProSMAShort(nnUNetTrainerProSMA, _Short):
    pass


class nnUNetTrainerAttentionGateShort(nnUNetTrainerAttentionGate, _Short):
    pass


class nnUNetTrainerSpatialOnlyShort(nnUNetTrainerProSMA_spatialOnly, _Short):
    pass


class nnUNetTrainerChannelOnlyShort(nnUNetTrainerProSMA_channelOnly, _Short):
    pass


class nnUNetTrainerHardRemovalShort(nnUNetTrainerProSMA_hardRemoval, _Short):
    pass


class nnUNetTrainerProSMANoDeepSupervisionShort(ProSMATrainerMixin, nnUNetTrainerNoDeepSupervision, _Short):
    pass


class nnUNetTrainerPUNetShort(_Short, nnUNetTrainerPUNet):
    """The lengths of epochs are the protocol's."""


class nnUNetTrainerPUNetNoGateShort(_Short, nnUNetTrainerPUNet_noGate):
    pass
