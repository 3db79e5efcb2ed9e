"""The signal and the gated skip in one tensor, and by which path it is computed.

The reference path is the gate's own forward and a concatenation. The fused path does the same on a CPU in less time and
memory. Both give the same values and gradients to rounding.
"""

import os
import warnings
from functools import cache

import torch
from torch import Tensor

from nnunet_prosma.fused import fused_concatenation
from nnunet_prosma.gate import AttentionGate, ProSMAGate

VARIABLE = "NNUNET_PROSMA_PATH"
"""Environment variable that forces a path; without it, fused is taken where it can be."""
PATHS = ("fused", "reference")


def gated_concatenation(gate: ProSMAGate | AttentionGate, skip: Tensor, signal: Tensor) -> Tensor:
    """(B, Cg + Cx, *S): the signal, and behind it the gated skip."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing():  # a compiler fuses by itself, an export wants plain ops
        return torch.cat((signal, gate(skip, signal)), 1)
    wanted = forced_path()
    obstacle = fused_obstacle(gate, skip.device) or _passing_obstacle(gate, skip, signal)
    if wanted == "fused" and obstacle:
        _say_once(f"{VARIABLE}=fused, but {obstacle}: such a gate takes the reference path")
    if wanted == "reference" or obstacle:
        return torch.cat((signal, gate(skip, signal)), 1)
    assert isinstance(gate, ProSMAGate)
    return fused_concatenation(gate, skip, signal)


def chosen_path(gate: ProSMAGate | AttentionGate, device: torch.device) -> str:
    """Which path this gate takes on this device, and why, in a few words for a log."""
    if forced_path() == "reference":
        return f"reference ({VARIABLE} is set)"
    obstacle = fused_obstacle(gate, device)
    return f"reference ({obstacle})" if obstacle else "fused"


def forced_path() -> str | None:
    wanted = os.environ.get(VARIABLE) or None
    if wanted not in (None, *PATHS):
        raise ValueError(
            f"the environment variable {VARIABLE} must be one of {', '.join(PATHS)}, or unset, got {wanted!r}"
        )
    return wanted


def fused_obstacle(gate: ProSMAGate | AttentionGate, device: torch.device) -> str | None:
    """Why the fused path can never serve this gate on this device; None if it can."""
    if not isinstance(gate, ProSMAGate):
        return "the fused path is for ProSMA gates"
    if not gate.config.spatial:
        return "the fused path is for gates with a spatial part"
    if gate.config.norm != "none":
        return "the fused path is for gates without a norm"
    if device.type != "cpu":
        return f"the fused path is for the CPU, not {device.type}"
    return None


def _passing_obstacle(gate: ProSMAGate | AttentionGate, skip: Tensor, signal: Tensor) -> str | None:
    """Why it cannot serve this call."""
    if gate._forward_hooks or gate._forward_pre_hooks:
        return "somebody looks into the gate's forward by a hook"
    if not skip.dtype == signal.dtype == next(gate.parameters()).dtype or skip.dtype not in (
        torch.float32,
        torch.float64,
    ):
        return "the fused path is for one precision, float32 or float64"
    if _autocast_on_cpu():
        return "the fused path does not work under autocast"
    return None


def _autocast_on_cpu() -> bool:
    try:
        return torch.is_autocast_enabled("cpu")
    except TypeError:  # before torch 2.4 it takes no device
        return torch.is_autocast_cpu_enabled()


@cache
def _say_once(message: str) -> None:
    warnings.warn(message, stacklevel=3)
