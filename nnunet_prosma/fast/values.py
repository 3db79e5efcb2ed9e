"""The parameters of a gate as a list, and the gate that such a list stands for."""

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from nnunet_prosma.gate import GateConfig, ProSMAGate


def values_of(gate: ProSMAGate) -> list[Tensor]:
    """The parameters of parameter_names, read one by one: a walk over the modules takes longer."""
    x, g, fuse, psi = gate.skip_proj, gate.signal_proj, gate.fuse, gate.psi
    values: list[Any] = [gate.theta, x.weight, g.weight, g.bias, fuse.weight, fuse.bias, psi.weight, psi.bias]
    values += [branch.weight for branch in gate.branches]
    if gate.config.channel:
        first, last = gate.mlp[0], gate.mlp[2]
        values += [first.weight, first.bias, last.weight, last.bias]
    if gate.config.residual:
        values.append(gate.alpha)
    return values


def parameter_names(branches: int, channel: bool, residual: bool = False) -> tuple[str, ...]:
    """The names of the parameters of a gate with so many branches, in the order in which the operators take them."""
    where = ("theta", "skip_proj.weight", "signal_proj.weight", "signal_proj.bias", "fuse.weight", "fuse.bias")
    scales = tuple(f"branches.{m}.weight" for m in range(branches))
    what = ("mlp.0.weight", "mlp.0.bias", "mlp.2.weight", "mlp.2.bias") if channel else ()
    return (*where, "psi.weight", "psi.bias", *scales, *what, *(("alpha",) if residual else ()))


class _Conv2d(nn.Conv2d):
    def reset_parameters(self) -> None:
        """Nothing: its weights are given in each call, and vmap allows no random numbers."""


class _Conv3d(nn.Conv3d):
    def reset_parameters(self) -> None:
        """Nothing: its weights are given in each call, and vmap allows no random numbers."""


def definition(
    skip: Tensor, signal: Tensor, *values: Tensor, dilations: list[int], channel: bool, hard: bool, residual: bool
) -> Tensor:
    """The gated skip by the gate's own forward, for a gate with these values."""
    kernel, conv_op = values[8].shape[2:], (_Conv3d if skip.ndim == 5 else _Conv2d)
    config = GateConfig(
        channel=channel,
        dilations=tuple(dilations),
        removal="hard" if hard else "soft",
        residual=residual,
        kernel_size=max(kernel),
        latent_reduction=skip.shape[1] + 1,  # so that the latent channels are the least that there may be
        min_channels=len(values[0]),
    )
    with torch.device("meta"):
        gate = ProSMAGate(conv_op, skip.shape[1], signal.shape[1], tuple(kernel), config)
    named = dict(zip(parameter_names(len(dilations), channel, residual), values, strict=True))
    half = skip.dtype != values[0].dtype
    with torch.autocast(skip.device.type, skip.dtype) if half else nullcontext():
        return functional_call(gate, named, (skip, signal))
