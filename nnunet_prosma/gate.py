"""The gate on one skip: ProSMA (proximal-sparse, Eq. 1-5 of the paper) and, as its baseline, dense attention.

Shapes throughout: skip x (B, Cx, *S) from the encoder, signal g (B, Cg, *S) from the decoder, after its transposed
convolution and before the concatenation; *S is two- or three-dimensional and the same for both.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

import torch
from dynamic_network_architectures.building_blocks.helper import (
    get_matching_instancenorm,
    maybe_convert_scalar_to_list,
)
from torch import Tensor, nn
from torch.nn import functional as F

from nnunet_prosma.prox import soft_threshold

ConvOp = type[nn.Conv2d] | type[nn.Conv3d]

KINDS = ("prosma", "attention")
NORMS = ("none", "instance")
REMOVALS = ("soft", "hard")


def _as_tuple(value: Any) -> tuple[Any, ...]:
    if isinstance(value, (list, tuple)):
        return tuple(value)
    raise ValueError(f"gate setting dilations must be a list of whole numbers, got {value!r}")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


@dataclass(frozen=True)
class GateConfig:
    """Settings of the gates of one network. The paper leaves the defaults below open; they are our choice.

    A plans file holds them as a dict under ``arch_kwargs["gate"]``; what is not named keeps its default.
    """

    kind: str = "prosma"
    """"prosma", or "attention" for the dense additive gate of Attention U-Net (only the two latent sizes apply)."""
    spatial: bool = True
    """Whether psi, the where, is computed and applied."""
    channel: bool = True
    """Whether c, the what, is computed and applied."""
    latent_reduction: int = 2
    """Latent channels: Ca = max(Cx // latent_reduction, min_channels)."""
    mlp_reduction: int = 4
    """Hidden channels of the channel gate's MLP: max(Cx // mlp_reduction, min_channels)."""
    min_channels: int = 8
    """Lower bound of both."""
    kernel_size: int = 3
    """Kernel of the depthwise branches; along an axis where the plan's kernel is 1 it is 1."""
    dilations: tuple[int, ...] = (1, 2, 4)
    """One depthwise branch each."""
    lam: float = math.log(2)
    """Threshold at the start of training, for every latent channel; the default is softplus(0)."""
    norm: str = "none"
    """"instance" normalises u before the threshold, so that lam does not depend on u's scale (not in the paper)."""
    removal: str = "soft"
    """"hard" multiplies psi by [z has support at this voxel], so that voxels are really removed (not in the paper)."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "dilations", _as_tuple(self.dilations))
        for name, known in (("kind", KINDS), ("norm", NORMS), ("removal", REMOVALS)):
            if getattr(self, name) not in known:
                raise ValueError(f"gate setting {name} must be one of {', '.join(known)}, got {getattr(self, name)!r}")
        for name in ("spatial", "channel"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"gate setting {name} must be true or false, got {getattr(self, name)!r}")
        for name in ("latent_reduction", "mlp_reduction", "min_channels", "kernel_size"):
            if not _is_count(getattr(self, name)):
                raise ValueError(
                    f"gate setting {name} must be a whole number of at least 1, got {getattr(self, name)!r}"
                )
        if self.kernel_size % 2 == 0:
            raise ValueError(f"gate setting kernel_size must be odd, so that the size is kept, got {self.kernel_size}")
        if not self.dilations or not all(_is_count(d) for d in self.dilations):
            raise ValueError(
                f"gate setting dilations must name at least one whole number of at least 1, got {list(self.dilations)}"
            )
        if isinstance(self.lam, bool) or not isinstance(self.lam, (int, float)) or not 0 < self.lam < math.inf:
            raise ValueError(f"gate setting lam must be a finite number above 0, got {self.lam!r}")
        if not (self.spatial or self.channel):
            raise ValueError(
                "gate settings spatial and channel are both false, which leaves nothing to gate; "
                "switch one on, or use the vanilla network and trainer"
            )
        if self.removal == "hard" and not self.spatial:
            raise ValueError('gate setting removal="hard" needs spatial=true: it acts on the spatial gate')
        if self.kind == "attention":
            self._refuse_what_attention_lacks()

    def _refuse_what_attention_lacks(self) -> None:
        shared = {"kind", "latent_reduction", "min_channels"}
        changed = [f.name for f in fields(self) if f.name not in shared and getattr(self, f.name) != f.default]
        if changed:
            raise ValueError(
                f'the dense attention gate (kind="attention") has no {", ".join(changed)}; '
                f"leave out what only a ProSMA gate has"
            )

    @classmethod
    def of(cls, settings: "GateConfig | Mapping[str, Any] | None") -> "GateConfig":
        """From what an architecture accepts: settings, the dict that a plans file holds, or None for the defaults."""
        if isinstance(settings, cls):
            return settings
        if settings is None:
            return cls()
        if not isinstance(settings, Mapping):
            raise ValueError(f"gate settings must be a GateConfig or a dict of its fields, got {settings!r}")
        known = [f.name for f in fields(cls)]
        unknown = [key for key in settings if key not in known]
        if unknown:
            raise ValueError(f"unknown gate setting {', '.join(map(repr, unknown))}; known are {', '.join(known)}")
        return cls(**settings)

    def to_dict(self) -> dict[str, Any]:
        """What a plans file holds: every setting, as JSON can."""
        return {**asdict(self), "dilations": list(self.dilations)}

    def latent_channels(self, skip_channels: int) -> int:
        return max(skip_channels // self.latent_reduction, self.min_channels)

    def hidden_channels(self, skip_channels: int) -> int:
        return max(skip_channels // self.mlp_reduction, self.min_channels)


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
    """x -> x * c * psi, where psi comes from the soft-thresholded compatibility of x and g, and c from g alone."""

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

    def forward(self, skip: Tensor, signal: Tensor) -> Tensor:
        if self.config.channel:
            c = self.what(signal)
        if not self.config.spatial:
            return skip * c
        psi = self.where(self.sparse(self.response(skip, signal)))
        return skip * c * psi if self.config.channel else skip * psi

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
        if not torch.is_autocast_enabled(signal.device.type):
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

    def fields(self, skip: Tensor, signal: Tensor) -> GateFields:
        """The intermediate fields of forward, for diagnostics: psi is all that a dense gate has."""
        return GateFields(psi=self.where(skip, signal), c=None, u=None, lam=None, z=None)


def build_gate(
    conv_op: ConvOp,
    skip_channels: int,
    signal_channels: int,
    plan_kernel_size: int | Sequence[int],
    config: GateConfig,
) -> ProSMAGate | AttentionGate:
    """The gate that config asks for."""
    gate_class = AttentionGate if config.kind == "attention" else ProSMAGate
    return gate_class(conv_op, skip_channels, signal_channels, plan_kernel_size, config)


def gate_kernel(conv_op: ConvOp, plan_kernel_size: int | Sequence[int], kernel_size: int) -> tuple[int, ...]:
    """kernel_size along each axis, but 1 where the plan's own kernel is 1: there nnU-Net does not mix slices yet."""
    return tuple(1 if k == 1 else kernel_size for k in maybe_convert_scalar_to_list(conv_op, plan_kernel_size))


def inverse_softplus(lam: float) -> float:
    """theta with softplus(theta) = lam, for lam > 0."""
    return lam + math.log(-math.expm1(-lam))
