"""The trainers a comparison needs: the gate of the paper, its ablations, its strict form, and the dense baseline."""

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_prosma.trainers.mixin import ProSMATrainerMixin

__all__ = [
    "nnUNetTrainerAttentionGate",
    "nnUNetTrainerProSMA",
    "nnUNetTrainerProSMA_channelOnly",
    "nnUNetTrainerProSMA_coarse2",
    "nnUNetTrainerProSMA_coarse3",
    "nnUNetTrainerProSMA_hardRemoval",
    "nnUNetTrainerProSMA_open",
    "nnUNetTrainerProSMA_residual",
    "nnUNetTrainerProSMA_spatialOnly",
]


class nnUNetTrainerProSMA(ProSMATrainerMixin, nnUNetTrainer):
    """nnU-Net's default training of the gated network."""

    gate_settings = {"kind": "prosma"}
    gate_settings_0_1 = {"kind": "prosma"}


class nnUNetTrainerProSMA_spatialOnly(nnUNetTrainerProSMA):
    gate_settings = {"kind": "prosma", "channel": False}


class nnUNetTrainerProSMA_channelOnly(nnUNetTrainerProSMA):
    gate_settings = {"kind": "prosma", "spatial": False}


class nnUNetTrainerProSMA_hardRemoval(nnUNetTrainerProSMA):
    gate_settings = {"kind": "prosma", "removal": "hard"}


class nnUNetTrainerProSMA_residual(nnUNetTrainerProSMA):
    """Starts as the network without gates, and learns how much of them to let in."""

    gate_settings = {"kind": "prosma", "residual": True}


class nnUNetTrainerProSMA_open(nnUNetTrainerProSMA):
    gate_settings = {"kind": "prosma", "start": "open"}


class nnUNetTrainerProSMA_coarse2(nnUNetTrainerProSMA):
    gate_settings = {"kind": "prosma", "stages": 2}


class nnUNetTrainerProSMA_coarse3(nnUNetTrainerProSMA):
    gate_settings = {"kind": "prosma", "stages": 3}


class nnUNetTrainerAttentionGate(ProSMATrainerMixin, nnUNetTrainer):
    """nnU-Net's default training with the dense attention gate of Attention U-Net in the place of ProSMA's."""

    gate_settings = {"kind": "attention"}
