"""Small networks as plans would have them, gated and vanilla."""

import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet, ResidualUNet
from torch import nn

from nnunet_prosma.architectures import ProSMAResEncUNet, ProSMAResUNet, ProSMAUNet

TWINS = [(ProSMAUNet, PlainConvUNet), (ProSMAResEncUNet, ResidualEncoderUNet), (ProSMAResUNet, ResidualUNet)]
every_network = pytest.mark.parametrize(("gated", "vanilla"), TWINS, ids=lambda c: c.__name__)
both_dimensions = pytest.mark.parametrize("dimensions", [2, 3])


def build(network, dimensions, **settings):
    """A small network as a plans file would have it: anisotropic in 3D, initialised as nnU-Net does."""
    torch.manual_seed(3)
    blocks = "n_conv_per_stage" if network in (PlainConvUNet, ProSMAUNet) else "n_blocks_per_stage"
    planned = {
        "input_channels": 2,
        "n_stages": 3,
        "features_per_stage": [8, 16, 24],
        "conv_op": {2: nn.Conv2d, 3: nn.Conv3d}[dimensions],
        "kernel_sizes": [[1, 3, 3][-dimensions:], [3] * dimensions, [3] * dimensions],
        "strides": [[1] * dimensions, [1, 2, 2][-dimensions:], [2] * dimensions],
        "num_classes": 3,
        blocks: [1, 1, 1],
        "n_conv_per_stage_decoder": [1, 1],
        "conv_bias": True,
        "norm_op": {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}[dimensions],
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "nonlin": nn.LeakyReLU,
        "nonlin_kwargs": {"inplace": True},
        "deep_supervision": True,
    }
    net = network(**planned | settings)
    net.apply(net.initialize)
    return net.eval()


def image(dimensions):
    return torch.randn(2, 2, *[8, 16, 16][-dimensions:], generator=torch.manual_seed(5))
