"""P-UNET, the network of Section 2.1 of the paper: five levels, max-pooling, residual blocks, a gate on each skip.

    x_1 = Res(image)                 x_s = Res(MaxPool(x_{s-1})), s = 2..5        encoder
    g_5 = Res(x_5)                                                                bottleneck
    g_s = Res(Concat(Up(g_{s+1}), G_s(x_s, Up(g_{s+1})))), s = 4..1               decoder
    logits = 1x1 convolution of g_1

Up is bi- or trilinear interpolation and a convolution to the channels of x_s.
"""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from dynamic_network_architectures.building_blocks.helper import (
    get_matching_instancenorm,
    get_matching_pool_op,
    maybe_convert_scalar_to_list,
)
from dynamic_network_architectures.building_blocks.residual import BasicBlockD
from dynamic_network_architectures.building_blocks.simple_conv_blocks import ConvDropoutNormReLU
from dynamic_network_architectures.initialization.weight_init import InitWeights_He
from torch import Tensor, nn
from torch.nn import functional as F

from nnunet_prosma.architectures.gated_unet import GatedNetwork
from nnunet_prosma.decoder import GatedDecoder, build_gates
from nnunet_prosma.gate import ConvOp, GateConfig, start_gate

LEVELS = 5
FEATURES = {2: (32, 64, 128, 256, 512), 3: (32, 64, 128, 256, 320)}
"""Channels of the levels by dimension, as nnU-Net's own networks have them; the paper does not say."""


class PUNet(GatedNetwork):
    """P-UNET in two or three dimensions, which conv_op decides.

    strides: of the pooling, one entry a level, the first of them 1; by default 2 along every axis. Images must be
    divisible by their product along each axis, 16 by default.
    gate: settings of the four gates, None for the defaults, or "none" for plain skips, the first row of the paper's
    ablation.
    deep_supervision: segmentation layers at all of the decoder's stages, which the paper's network has not.
    """

    encoder: "PUNetEncoder"
    decoder: "PUNetDecoder"

    def __init__(
        self,
        input_channels: int,
        num_classes: int,
        conv_op: ConvOp,
        *,
        features_per_stage: Sequence[int] | None = None,
        kernel_sizes: int | Sequence[int | Sequence[int]] = 3,
        strides: Sequence[int | Sequence[int]] | None = None,
        n_stages: int = LEVELS,
        conv_bias: bool = True,
        norm_op: type[nn.Module] | None = None,
        norm_op_kwargs: Mapping[str, Any] | None = None,
        nonlin: type[nn.Module] = nn.LeakyReLU,
        nonlin_kwargs: Mapping[str, Any] | None = None,
        deep_supervision: bool = False,
        gate: GateConfig | Mapping[str, Any] | str | None = None,
    ) -> None:
        super().__init__()
        config = GateConfig.of(gate)
        dimensions = len(maybe_convert_scalar_to_list(conv_op, 1))
        features = list(FEATURES[dimensions] if features_per_stage is None else features_per_stage)
        kernels = [kernel_sizes] * LEVELS if isinstance(kernel_sizes, int) else list(kernel_sizes)
        pooling = [1] + [2] * (LEVELS - 1) if strides is None else list(strides)
        for name, given in (("features_per_stage", features), ("kernel_sizes", kernels), ("strides", pooling)):
            if len(given) != LEVELS or n_stages != LEVELS:
                raise ValueError(
                    f"a P-UNET has {LEVELS} levels: n_stages must be {LEVELS} and {name} have as many entries, "
                    f"got n_stages {n_stages} and {name} {given}"
                )
        block: dict[str, Any] = {
            "conv_bias": conv_bias,
            "norm_op": get_matching_instancenorm(conv_op) if norm_op is None else norm_op,
            "norm_op_kwargs": {"eps": 1e-5, "affine": True} if norm_op_kwargs is None else dict(norm_op_kwargs),
            "nonlin": nonlin,
            "nonlin_kwargs": {"inplace": True} if nonlin_kwargs is None else dict(nonlin_kwargs),
        }
        self.encoder = PUNetEncoder(input_channels, features, conv_op, kernels, pooling, block)
        self.bottleneck = BasicBlockD(conv_op, features[-1], features[-1], kernels[-1], 1, **block)
        self.decoder = PUNetDecoder(self.encoder, num_classes, config, deep_supervision, block)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        return self.decoder(self.encode(x))

    def encode(self, image: Tensor) -> list[Tensor]:
        """x_1, ..., x_4 and g_5."""
        *skips, deepest = self.encoder(image)
        return [*skips, self.bottleneck(deepest)]

    def dropped(self, weights: Mapping[str, Any]) -> list[str]:
        return other_heads(self.decoder, weights, "decoder.")

    def compute_conv_feature_map_size(self, input_size: Sequence[int]) -> int:
        """What nnU-Net's networks tell: the elements that the convolutions put out, from which its planner tells
        memory."""
        deepest = self.decoder.skip_sizes(input_size)[-1]
        return (
            self.encoder.compute_conv_feature_map_size(input_size)
            + int(self.bottleneck.compute_conv_feature_map_size(deepest))
            + self.decoder.compute_conv_feature_map_size(input_size)
        )

    @staticmethod
    def initialize(module: nn.Module) -> None:
        """nnU-Net's: He on convolutions, biases zero."""
        InitWeights_He(1e-2)(module)
        start_gate(module)


class PUNetEncoder(nn.Module):
    """The image -> x_1, ..., x_5, the finest first. Attributes are named as those of nnU-Net's encoders."""

    def __init__(
        self,
        input_channels: int,
        features: Sequence[int],
        conv_op: ConvOp,
        kernel_sizes: Sequence[int | Sequence[int]],
        strides: Sequence[int | Sequence[int]],
        block: Mapping[str, Any],
    ) -> None:
        super().__init__()
        self.conv_op = conv_op
        self.output_channels = list(features)
        self.kernel_sizes = [maybe_convert_scalar_to_list(conv_op, k) for k in kernel_sizes]
        self.strides = [maybe_convert_scalar_to_list(conv_op, s) for s in strides]
        pool = get_matching_pool_op(conv_op=conv_op, adaptive=False, pool_type="max")
        self.stages = nn.ModuleList()
        for into, out, kernel, stride in zip(
            [input_channels, *features], features, self.kernel_sizes, self.strides, strict=False
        ):
            residual = BasicBlockD(conv_op, into, out, kernel, 1, **block)
            self.stages.append(residual if prod(stride) == 1 else nn.Sequential(pool(stride, stride), residual))

    def forward(self, x: Tensor) -> list[Tensor]:
        skips = []
        for stage in self.stages:
            x = stage(x)
            skips.append(x)
        return skips

    def compute_conv_feature_map_size(self, input_size: Sequence[int]) -> int:
        total, size = 0, list(input_size)
        for stage, stride in zip(self.stages, self.strides, strict=True):
            size = [i // j for i, j in zip(size, stride, strict=True)]
            residual: Any = stage[-1] if isinstance(stage, nn.Sequential) else stage
            total += int(residual.compute_conv_feature_map_size(size))
        return total


class Up(nn.Module):
    """Bi- or trilinear interpolation to the size of the finer level, and a convolution to its channels."""

    def __init__(self, stride: Sequence[int], into: int, out: int, encoder: PUNetEncoder, kernel: Any, block: Any):
        super().__init__()
        self.scale_factor = tuple(float(s) for s in stride)
        self.mode = {2: "bilinear", 3: "trilinear"}[len(self.scale_factor)]
        self.conv = ConvDropoutNormReLU(encoder.conv_op, into, out, kernel, 1, **block)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=self.scale_factor, mode=self.mode, align_corners=False))


class PUNetDecoder(GatedDecoder):
    """The decoder, with the attributes of a GatedDecoder: transpconvs are the Ups.

    Without deep supervision only the finest stage has a segmentation layer: one that is never used would stop
    training on several GPUs. Weights trained with deep supervision load into it; the layers that it lacks are dropped.
    """

    def __init__(
        self,
        encoder: PUNetEncoder,
        num_classes: int,
        config: GateConfig,
        deep_supervision: bool,
        block: Mapping[str, Any],
    ) -> None:
        nn.Module.__init__(self)
        self.encoder: Any = encoder
        self.config = config
        self.deep_supervision = deep_supervision
        self.num_classes = num_classes
        self.transpconvs, self.stages = nn.ModuleList(), nn.ModuleList()
        self.gates = build_gates(encoder.conv_op, encoder.output_channels, encoder.kernel_sizes, config)
        self.seg_layers: Any = nn.ModuleDict()
        conv_op: Any = encoder.conv_op
        for s, level in enumerate(range(LEVELS - 2, -1, -1)):
            out, kernel = encoder.output_channels[level], encoder.kernel_sizes[level]
            stride, into = encoder.strides[level + 1], encoder.output_channels[level + 1]
            self.transpconvs.append(Up(stride, into, out, encoder, kernel, block))
            self.stages.append(BasicBlockD(conv_op, 2 * out, out, kernel, 1, **block))
            if deep_supervision or level == 0:
                self.seg_layers[str(s)] = conv_op(out, num_classes, 1, bias=True)
        if hasattr(self, "register_load_state_dict_pre_hook"):
            self.register_load_state_dict_pre_hook(_drop_other_heads)
        else:  # torch 2.4
            self._register_load_state_dict_pre_hook(_drop_other_heads, with_module=True)

    def head(self, s: int) -> nn.Module | None:
        if str(s) not in self.seg_layers:
            return None
        return self.seg_layers[str(s)]

    def compute_conv_feature_map_size(self, input_size: Sequence[int]) -> int:
        total, sizes, stages = self.kept_by_gates(input_size), self.skip_sizes(input_size)[-2::-1], list(self.stages)
        for s, size in enumerate(sizes):
            ups: Any = self.transpconvs[s]
            residual: Any = stages[s]
            total += int(ups.conv.compute_conv_feature_map_size(size))
            total += int(residual.compute_conv_feature_map_size(size))
            if str(s) in self.seg_layers and (self.deep_supervision or s == len(sizes) - 1):
                total += self.num_classes * prod(size)
        return total


def _drop_other_heads(decoder: PUNetDecoder, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    for key in other_heads(decoder, state_dict, prefix):
        del state_dict[key]


def other_heads(decoder: PUNetDecoder, state_dict: Mapping[str, Any], prefix: str) -> list[str]:
    """The segmentation layers that a training with deep supervision had beside."""
    kept = tuple(f"{prefix}seg_layers.{s}." for s in decoder.seg_layers)
    return [key for key in state_dict if key.startswith(f"{prefix}seg_layers.") and not key.startswith(kept)]
