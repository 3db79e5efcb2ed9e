"""The trainers a comparison needs: the gate of the paper, its ablations, its strict form, and the dense baseline."""

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_prosma.trainers.mixin import ProSMATrainerMixin

__all__ = [
    "nnUNetTrainerAttentionGate",
    "nnUNetTrainerProSMA",
    "nnUNetTrainerProSMA_channelOnly",
    "nnUNetTrainerProSMA_hardRemoval",
    "nnUNetTrainerProSMA_spatialOnly",
]


class nnUNetTrainerProSMA(ProSMATrainerMixin, nnUNetTrainer):
    """nnU-Net's default training of the gated network."""

    gate_settings = {"kind": "prosma"}


class nnUNetTrainerProSMA_spatialOnly(nnUNetTrainerProSMA):
    gate_settings = {"kind": "prosma", "channel": False}


class nnUNetTrainerProSMA_channelOnly(nnUNetTrainerProSMA):
    gate_settings = {"kind": "prosma", "spatial": False}


class nnUNetTrainerProSMA_hardRemoval(nnUNetTrainerProSMA):
    gate_settings = {"kind": "prosma", "removal": "hard"}


class nnUNetTrainerAttentionGate(ProSMATrainerMixin, nnUNetTrainer):
    """nnU-Net's default training with the dense attention gate of Attention U-Net in the place of ProSMA's."""

    gate_settings = {"kind": "attention"}
