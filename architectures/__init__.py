"""Gated twins of nnU-Net's U-Nets, which a plans file may name as nnunet_prosma.architectures.CLASS."""

from nnunet_prosma.architectures.gated_unet import ProSMAResEncUNet, ProSMAResUNet, ProSMAUNet

__all__ = ["ProSMAResEncUNet", "ProSMAResUNet", "ProSMAUNet"]
