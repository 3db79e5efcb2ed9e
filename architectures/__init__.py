"""Gated networks, which a plans file may name as nnunet_prosma.architectures.CLASS."""

from nnunet_prosma.architectures.gated_unet import ProSMAResEncUNet, ProSMAResUNet, ProSMAUNet
from nnunet_prosma.architectures.p_unet import PUNet

__all__ = ["PUNet", "ProSMAResEncUNet", "ProSMAResUNet", "ProSMAUNet"]
