"""Small networks as plans would have them, gated and vanilla."""

import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet, ResidualUNet
from torch import nn

from nnunet_prosma.architectures import ProSMAResEncUNet, ProSMAResUNet, ProSMAUNet, PUNet

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


OURS = (ProSMAUNet, ProSMAResEncUNet, ProSMAResUNet, PUNet)
GATES = {"prosma": {}, "hard": {"removal": "hard"}, "attention": {"kind": "attention"}, "none": "none"}
of_ours = pytest.mark.parametrize(
    "ours",
    [(network, dimensions, kind) for network in OURS for dimensions in (2, 3) for kind in GATES],
    ids=lambda ours: f"{ours[0].__name__}-{ours[1]}d-{ours[2]}",
)
"""All networks: to be given to build_ours."""


def build_ours(ours, **settings):
    """With weights that let each part matter, biases too; one output."""
    network, dimensions, kind = ours
    if network is PUNet:
        torch.manual_seed(3)
        conv_op = {2: nn.Conv2d, 3: nn.Conv3d}[dimensions]
        strides = [[1] * dimensions, *[[1, 2, 2][-dimensions:]] * 3, [2] * dimensions]
        built = PUNet(2, 3, conv_op, features_per_stage=[4, 4, 6, 6, 8], strides=strides, gate=GATES[kind], **settings)
        built.apply(built.initialize)
        built.eval()
    else:
        built = build(network, dimensions, gate=GATES[kind], **{"deep_supervision": False, **settings})
    for parameter in built.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return built


def image_of_ours(ours):
    """One that every one of them takes."""
    return torch.randn(1, 2, *[4, 32, 32][-ours[1] :], generator=torch.manual_seed(5))


def gated_skips(ours):
    """How many gates it has."""
    return 0 if ours[2] == "none" else 4 if ours[0] is PUNet else 2
