"""The gate on one skip: ProSMA (proximal-sparse, Eq. 1-5 of the paper) and, as its baseline, dense attention.

Shapes throughout: skip x (B, Cx, *S) from the encoder, signal g (B, Cg, *S) from the decoder, after its transposed
convolution and before the concatenation; *S is two- or three-dimensional and the same for both.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from dynamic_network_architectures.building_blocks.helper import (
    get_matching_instancenorm,
    maybe_convert_scalar_to_list,
)
from torch import Tensor, nn
from torch.nn import functional as F

from nnunet_prosma.gate_config import GateConfig as GateConfig
from nnunet_prosma.prox import soft_threshold

ConvOp = type[nn.Conv2d] | type[nn.Conv3d]

OPEN = 0.9
"""psi and c of a gate that starts open."""
WEIGHT_SHARE = 1e-6
"""The last layers of an opened gate keep this share of their weights: small against the bias, so that it is equally
open everywhere, but not zero, so that what stands before them has a gradient from the first step on."""


class GateFields(NamedTuple):
    """What a gate computes on the way to its output; None for what a gate does not have."""

    psi: Tensor | None
    """(B, 1, *S), how open the gate is at each voxel."""
    c: Tensor | None
    """(B, Cx, 1, ...), how open it is for each channel."""
    u: Tensor | None
    """(B, Ca, *S), the compatibility field before the threshold."""
    lam: Tensor | None
    """(Ca,), the thresholds."""
    z: Tensor | None
    """(B, Ca, *S), the field after it, exactly zero where |u| <= lam."""


class ProSMAGate(nn.Module):
    """x -> x * c * psi, where psi comes from the soft-thresholded compatibility of x and g, and c from g alone.

    A residual one: x -> x * (1 + alpha * (c * psi - 1)).
    """

    def __init__(
        self,
        conv_op: ConvOp,
        skip_channels: int,
        signal_channels: int,
        plan_kernel_size: int | Sequence[int] = 3,
        config: GateConfig = GateConfig(),
    ) -> None:
        super().__init__()
        self.config = config
        latent = config.latent_channels(skip_channels)
        self.spatial_axes = tuple(range(2, 2 + len(maybe_convert_scalar_to_list(conv_op, 1))))
        if config.spatial:
            kernel: Any = gate_kernel(conv_op, plan_kernel_size, config.kernel_size)
            self.skip_proj = conv_op(skip_channels, latent, 1, bias=False)
            self.signal_proj = conv_op(signal_channels, latent, 1)
            self.branches = nn.ModuleList()
            for dilation in config.dilations:
                padding: Any = tuple(dilation * (k // 2) for k in kernel)  # keeps the size
                self.branches.append(conv_op(latent, latent, kernel, 1, padding, dilation, groups=latent, bias=False))
            self.fuse = conv_op(latent * len(config.dilations), latent, 1)
            self.norm = get_matching_instancenorm(conv_op)(latent) if config.norm == "instance" else nn.Identity()
            self.theta = nn.Parameter(torch.full((latent,), inverse_softplus(config.lam)))
            self.psi = conv_op(latent, 1, 1)
        if config.channel:
            hidden = config.hidden_channels(skip_channels)
            self.mlp = nn.Sequential(
                conv_op(signal_channels, hidden, 1), nn.ReLU(inplace=True), conv_op(hidden, skip_channels, 1)
            )
        if config.residual:
            self.alpha = nn.Parameter(torch.zeros(()))

    def forward(self, skip: Tensor, signal: Tensor) -> Tensor:
        gated = skip
        if self.config.channel:
            gated = gated * self.what(signal)
        if self.config.spatial:
            gated = gated * self.where(self.sparse(self.response(skip, signal)))
        return skip + self.alpha.to(skip.dtype) * (gated - skip) if self.config.residual else gated

    @property
    def lam(self) -> Tensor:
        """(Ca,), the thresholds; positive, in the precision of theta."""
        return F.softplus(self.theta)

    def response(self, skip: Tensor, signal: Tensor) -> Tensor:
        """Eq. 1 and 2: u (B, Ca, *S), how compatible skip and signal are, over several scales."""
        v = within_range(F.relu(within_range(self.skip_proj(skip)) + within_range(self.signal_proj(signal))))
        scales = within_range(torch.cat([branch(v) for branch in self.branches], 1))
        return self.norm(within_range(self.fuse(scales)))

    def sparse(self, u: Tensor) -> Tensor:
        """Eq. 3 and 4: z (B, Ca, *S), thresholded in float32 and cast back."""
        lam = self.lam.view(1, -1, *[1] * (u.ndim - 2))
        return soft_threshold(u, lam).to(u.dtype)

    def where(self, z: Tensor) -> Tensor:
        """psi (B, 1, *S); with removal="hard" exactly zero where no latent channel survived."""
        psi = torch.sigmoid(self.psi(z))
        return psi * (z != 0).any(1, keepdim=True) if self.config.removal == "hard" else psi

    def what(self, signal: Tensor) -> Tensor:
        """c (B, Cx, 1, ...), from the average of the signal over the image; both are taken in float32."""
        context = signal.mean(self.spatial_axes, keepdim=True, dtype=torch.promote_types(signal.dtype, torch.float32))
        if signal.is_meta or not torch.is_autocast_enabled(signal.device.type):  # meta knows no autocast
            return torch.sigmoid(self.mlp(context.to(signal.dtype)))
        with torch.autocast(signal.device.type, enabled=False):  # a few numbers, of which half precision loses some
            context = context.to(getattr(self.mlp[0], "weight", context).dtype)
            return torch.sigmoid(self.mlp(context)).to(signal.dtype)

    def fields(self, skip: Tensor, signal: Tensor) -> GateFields:
        """The intermediate fields of forward, for diagnostics."""
        c = self.what(signal) if self.config.channel else None
        if not self.config.spatial:
            return GateFields(psi=None, c=c, u=None, lam=None, z=None)
        u = self.response(skip, signal)
        z = self.sparse(u)
        return GateFields(psi=self.where(z), c=c, u=u, lam=self.lam, z=z)

    def open(self, openness: float) -> int:
        """Set psi and c to this, everywhere; how many factors they are."""
        last: list[nn.Module] = [self.psi] if self.config.spatial else []
        last += [self.mlp[2]] if self.config.channel else []
        for layer in last:
            open_layer(layer, openness)
        return len(last)


def within_range(values: Tensor) -> Tensor:
    """The values; those beyond float16's range as its largest number, not as infinity, whose sums are not numbers."""
    most = torch.finfo(torch.float16).max
    return values.clamp(-most, most) if values.dtype == torch.float16 else values


class AttentionGate(nn.Module):
    """x -> x * psi with a dense psi: the additive attention gate of Attention U-Net, the baseline of a ProSMA gate.

    psi = sigmoid(N(Psi relu(N(Wx x) + N(Wg g)))), with instance norms N as nnU-Net's networks have them.
    """

    def __init__(
        self,
        conv_op: ConvOp,
        skip_channels: int,
        signal_channels: int,
        plan_kernel_size: int | Sequence[int] = 3,
        config: GateConfig = GateConfig(kind="attention"),
    ) -> None:
        super().__init__()
        self.config = config
        norm_op = get_matching_instancenorm(conv_op)
        latent = self.latent_channels = config.latent_channels(skip_channels)
        self.skip_proj = nn.Sequential(conv_op(skip_channels, latent, 1, bias=False), norm_op(latent, affine=True))
        self.signal_proj = nn.Sequential(conv_op(signal_channels, latent, 1, bias=False), norm_op(latent, affine=True))
        self.psi = nn.Sequential(conv_op(latent, 1, 1, bias=False), norm_op(1, affine=True))

    def forward(self, skip: Tensor, signal: Tensor) -> Tensor:
        return skip * self.where(skip, signal)

    def where(self, skip: Tensor, signal: Tensor) -> Tensor:
        """psi (B, 1, *S)."""
        return torch.sigmoid(self.psi(F.relu(self.skip_proj(skip) + self.signal_proj(signal))))

    def open(self, openness: float) -> int:
        """Set psi to this, everywhere, by its norm; one factor."""
        open_layer(self.psi[1], openness)
        return 1

    def fields(self, skip: Tensor, signal: Tensor) -> GateFields:
        """The intermediate fields of forward, for diagnostics: psi is all that a dense gate has."""
        return GateFields(psi=self.where(skip, signal), c=None, u=None, lam=None, z=None)


class NoGate(nn.Module):
    """x -> x: a plain skip, in the place of a gate."""

    def __init__(
        self,
        conv_op: ConvOp,
        skip_channels: int,
        signal_channels: int,
        plan_kernel_size: int | Sequence[int] = 3,
        config: GateConfig = GateConfig(kind="none"),
    ) -> None:
        super().__init__()
        self.config = config

    def forward(self, skip: Tensor, signal: Tensor) -> Tensor:
        return skip


Gate = ProSMAGate | AttentionGate | NoGate


def build_gate(
    conv_op: ConvOp,
    skip_channels: int,
    signal_channels: int,
    plan_kernel_size: int | Sequence[int],
    config: GateConfig,
) -> Gate:
    """The gate that config asks for."""
    classes: dict[str, type[Gate]] = {"prosma": ProSMAGate, "attention": AttentionGate, "none": NoGate}
    return classes[config.kind](conv_op, skip_channels, signal_channels, plan_kernel_size, config)


def start_gate(module: nn.Module) -> None:
    """What a gate wants after its layers were initialised; nothing for any other module."""
    if isinstance(module, ProSMAGate) and module.config.start == "open":
        module.open(OPEN)


def open_layer(layer: nn.Module, openness: float) -> None:
    """Let the sigmoid of what it puts out be this everywhere."""
    weight, bias = layer.weight, layer.bias
    assert isinstance(weight, Tensor)
    assert isinstance(bias, Tensor)
    with torch.no_grad():
        weight.mul_(WEIGHT_SHARE)
        bias.fill_(math.log(openness / (1 - openness)))


def gate_kernel(conv_op: ConvOp, plan_kernel_size: int | Sequence[int], kernel_size: int) -> tuple[int, ...]:
    """kernel_size along each axis, but 1 where the plan's own kernel is 1: there nnU-Net does not mix slices yet."""
    return tuple(1 if k == 1 else kernel_size for k in maybe_convert_scalar_to_list(conv_op, plan_kernel_size))


def inverse_softplus(lam: float) -> float:
    """theta with softplus(theta) = lam, for lam > 0."""
    return lam + math.log(-math.expm1(-lam))
