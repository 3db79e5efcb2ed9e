"""Settings of the gates: what a plans file, a trainer and a checkpoint say of them."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

KINDS = ("prosma", "attention", "none")
NORMS = ("none", "instance")
REMOVALS = ("soft", "hard")
STARTS = ("half", "open")
ALL = "all"
ONLY_AT_THE_START = ("lam", "start")
"""Settings that a trained gate does not need any more."""


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
    """"prosma", "attention" for the dense additive gate of Attention U-Net (only the two latent sizes and stages
    apply), or "none" for plain skips (nothing else applies)."""
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
    stages: str | int = ALL
    """"all", or how many of the skips have a gate, the coarsest ones; more than there are means all."""
    residual: bool = False
    """Whether a gate puts out x (1 + alpha (c psi - 1)), alpha one learnt number a gate that starts at 0: a training
    then starts from the network without gates (not in the paper)."""
    start: str = "half"
    """How open psi and c are at the start of training: "half", about 0.5 each, or "open", 0.9 each."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "dilations", _as_tuple(self.dilations))
        for name, known in (("kind", KINDS), ("norm", NORMS), ("removal", REMOVALS), ("start", STARTS)):
            if getattr(self, name) not in known:
                raise ValueError(f"gate setting {name} must be one of {', '.join(known)}, got {getattr(self, name)!r}")
        for name in ("spatial", "channel", "residual"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"gate setting {name} must be true or false, got {getattr(self, name)!r}")
        for name in ("latent_reduction", "mlp_reduction", "min_channels", "kernel_size"):
            if not _is_count(getattr(self, name)):
                raise ValueError(
                    f"gate setting {name} must be a whole number of at least 1, got {getattr(self, name)!r}"
                )
        if self.stages != ALL and not _is_count(self.stages):
            raise ValueError(f'gate setting stages must be "all" or a whole number of at least 1, got {self.stages!r}')
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
        if self.removal == "hard" and self.residual:
            raise ValueError(
                'gate settings removal="hard" and residual=true contradict each other: what a residual gate removes '
                "comes back beside it; leave one out"
            )
        self._refuse_what_the_kind_lacks()

    def _refuse_what_the_kind_lacks(self) -> None:
        shared = {
            "prosma": {f.name for f in fields(self)},
            "attention": {"kind", "latent_reduction", "min_channels", "stages"},
            "none": {"kind"},
        }[self.kind]
        changed = [f.name for f in fields(self) if f.name not in shared and getattr(self, f.name) != f.default]
        if changed:
            what = {"attention": 'the dense attention gate (kind="attention")', "none": 'a plain skip (kind="none")'}
            raise ValueError(f"{what[self.kind]} has no {', '.join(changed)}; leave out what only a ProSMA gate has")

    @classmethod
    def of(cls, settings: "GateConfig | Mapping[str, Any] | str | None") -> "GateConfig":
        """The settings from what an architecture accepts: settings, what a plans file holds (a dict, or "none" for
        plain skips), or None for the defaults."""
        if isinstance(settings, cls):
            return settings
        if settings == "none":
            return cls(kind="none")
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

    def switched(self, settings: Mapping[str, Any]) -> "GateConfig":
        """A copy with these settings on top; plain skips have none of the others."""
        return GateConfig.of(settings if settings.get("kind") == "none" else {**self.to_dict(), **settings})

    def gates(self, skips: int) -> int:
        """How many of so many skips have a gate: the coarsest ones."""
        return 0 if self.kind == "none" else skips if isinstance(self.stages, str) else min(self.stages, skips)

    def differences(self, other: "GateConfig") -> list[str]:
        """Settings by which trained gates of both would put out something else, but for where they sit."""
        return [
            f"{f.name} {getattr(self, f.name)!r} instead of {getattr(other, f.name)!r}"
            for f in fields(self)
            if f.name not in (*ONLY_AT_THE_START, "stages") and getattr(self, f.name) != getattr(other, f.name)
        ]

    def latent_channels(self, skip_channels: int) -> int:
        return max(skip_channels // self.latent_reduction, self.min_channels)

    def hidden_channels(self, skip_channels: int) -> int:
        return max(skip_channels // self.mlp_reduction, self.min_channels)
