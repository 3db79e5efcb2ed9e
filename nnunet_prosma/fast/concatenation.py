"""The signal and the gated skip in one tensor, and by which path it is computed.

- reference: the gate's own forward and a concatenation; autograd keeps every latent field.
- recomputed: the same, but autograd keeps the skip and the concatenation only, which the network keeps anyway, and runs
  the gate's forward again in the backward pass. A network with gates then needs hardly more memory than without.
- fused: the recomputed one written by hand as one operator. On a CPU it takes much less time; on a GPU, with Triton, it
  is taken where it was measured to be right and faster (gpu.py), or if it is asked for.

All give the same values and derivatives to rounding. What a fast path cannot do exactly (exact.py says what that is)
takes the reference, and second derivatives are those of the reference.
"""

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.torch_version import TorchVersion
from torch.utils.checkpoint import checkpoint

from nnunet_prosma.errors import InputError
from nnunet_prosma.fast.derivative import autocast_as_now, differentiable_gradients, is_itself_transformed
from nnunet_prosma.fast.exact import obstacle_in_layers, obstacle_to_fusing, obstacle_to_recomputing, precisions_of
from nnunet_prosma.fast.fused import fused_concatenation
from nnunet_prosma.gate import AttentionGate, Gate, NoGate, ProSMAGate

VARIABLE = "NNUNET_PROSMA_PATH"
"""Environment variable that forces a path; without it, fused is taken on a CPU where it can be, on a GPU where it was
measured to be faster, else recomputed."""
PATHS = ("fused", "recomputed", "reference")
PRECISIONS = {"cpu": {torch.float32, torch.float64}, "cuda": {torch.float16, torch.bfloat16, torch.float32}}
"""The precisions that the fused path has on each device it is made for."""
KEEPS_LITTLE_COMPILED = TorchVersion(torch.__version__) >= "2.13"
"""Whether torch.compile leaves the recomputation of _Recomputed to the backward pass. Older ones (2.4 and 2.6 were
tried) compute all in the forward pass and keep it: there torch's own checkpoint is taken, which keeps the signal."""


def gated_concatenation(gate: Gate, skip: Tensor, signal: Tensor) -> Tensor:
    """(B, Cg + Cx, *S): the signal, and behind it the gated skip."""
    if isinstance(gate, NoGate):
        return torch.cat((signal, skip), 1)
    if torch.jit.is_tracing() or _is_exporting(gate):  # an export wants plain operations
        return by_path("reference", gate, skip, signal)
    forced = forced_path()
    wanted = forced or decided_path(gate)
    if wanted == "reference":
        return by_path("reference", gate, skip, signal)
    obstacle = obstacle_to_recomputing(gate)
    if obstacle is not None:
        if forced is not None and not torch.compiler.is_compiling():
            _say_once(f"{VARIABLE}={forced}, but {obstacle}: such a gate takes the reference path")
        return by_path("reference", gate, skip, signal)
    if wanted in (None, "fused"):
        obstacle = fused_obstacle(gate, skip.device) or _passing_obstacle(gate, skip, signal)
        if obstacle is None:
            return by_path("fused", gate, skip, signal)
        if forced == "fused" and not torch.compiler.is_compiling():
            _say_once(f"{VARIABLE}=fused, but {obstacle}: such a gate takes the recomputed path")
    return by_path("recomputed", gate, skip, signal)


def by_path(path: str, gate: ProSMAGate | AttentionGate, skip: Tensor, signal: Tensor) -> Tensor:
    """gated_concatenation by one of PATHS, which must be able to serve this call.

    Without gradients, recomputed is reference.
    """
    if path == "fused":
        assert isinstance(gate, ProSMAGate)
        return fused_concatenation(gate, skip, signal)
    if path == "reference" or not torch.is_grad_enabled():
        return torch.cat((signal, gate(skip, signal)), 1)
    if torch.compiler.is_compiling() and not KEEPS_LITTLE_COMPILED:
        gated = checkpoint(gate, skip, signal, use_reentrant=False, preserve_rng_state=False)
        return torch.cat((signal, gated), 1)
    names, parameters = zip(*gate.named_parameters(), strict=True)

    def run(skip: Tensor, signal: Tensor, *values: Tensor) -> Tensor:
        return functional_call(gate, dict(zip(names, values, strict=True)), (skip, signal))

    out: Tensor = _Recomputed.apply(run, skip, signal, *parameters)
    return out


class _Recomputed(torch.autograd.Function):
    """Keeps the skip and the concatenation, which the network keeps anyway and which holds the signal."""

    @staticmethod
    def forward(ctx: Any, run: Callable[..., Tensor], skip: Tensor, signal: Tensor, *parameters: Tensor) -> Tensor:
        out = torch.cat((signal, run(skip, signal, *parameters)), 1)
        ctx.run, ctx.channels, ctx.dtype = run, signal.shape[1], signal.dtype
        ctx.autocast = autocast_as_now(skip.device.type)
        ctx.save_for_backward(skip, out, *parameters)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        skip, out, *parameters = ctx.saved_tensors
        inputs = [skip, out[:, : ctx.channels].to(ctx.dtype), *parameters]
        if torch.compiler.is_compiling() or is_itself_transformed(grad):
            gradients: Sequence[Tensor] = differentiable_gradients(
                ctx.run, inputs, grad[:, ctx.channels :], ctx.autocast
            )
        else:  # which torch.compile cannot follow, but which frees each latent field as it goes
            inputs = [tensor.detach().requires_grad_() for tensor in inputs]
            with torch.enable_grad(), ctx.autocast():
                gated = ctx.run(*inputs)
            gradients = torch.autograd.grad(gated, inputs, grad[:, ctx.channels :])
        grad_skip, grad_signal, *grads = gradients
        return None, grad_skip, grad_signal + grad[:, : ctx.channels], *grads


def chosen_paths(gates: Mapping[str, nn.Module], device: torch.device) -> str:
    """The path that these gates take on this device, and why, in a few words for a log."""
    paths = {name: chosen_path(gate, device) for name, gate in gates.items()}  # type: ignore[arg-type]
    if len(set(paths.values())) == 1:
        return next(iter(paths.values()))
    return ", ".join(f"{name} {path}" for name, path in paths.items())


def chosen_path(gate: ProSMAGate | AttentionGate, device: torch.device) -> str:
    """The path that this gate takes on this device, and why, in a few words for a log."""
    if forced_path() != "reference" and (obstacle := obstacle_to_recomputing(gate)):
        return f"reference ({obstacle})"
    if forced_path() in ("recomputed", "reference"):
        return f"{forced_path()} ({VARIABLE} is set)"
    if forced_path() is None and decided_path(gate) is not None:
        return f"{decided_path(gate)} (measured on this GPU)"
    obstacle = fused_obstacle(gate, device)
    if obstacle is None and isinstance(gate, ProSMAGate):
        obstacle = obstacle_in_layers(gate)
    return f"recomputed ({obstacle})" if obstacle else "fused"


def forced_path() -> str | None:
    wanted = os.environ.get(VARIABLE) or None
    if wanted not in (None, *PATHS):
        raise InputError(
            f"the environment variable {VARIABLE} must be one of {', '.join(PATHS)}, or unset, got {wanted!r}"
        )
    return wanted


def decided_path(gate: nn.Module) -> str | None:
    """The path that was measured to be the faster one for this gate (gpu.py sets it); None if none was."""
    path: str | None = getattr(gate, "decided_path", None)
    return path


def fused_obstacle(gate: ProSMAGate | AttentionGate, device: torch.device) -> str | None:
    """Why the fused path does not serve this gate on this device; None if it does."""
    obstacle = lasting_obstacle(gate, device)
    if obstacle is None and device.type == "cuda" and "fused" not in (forced_path(), decided_path(gate)):
        return f"the fused path has not been timed on this GPU, {VARIABLE}=fused asks for it"
    return obstacle


def lasting_obstacle(gate: ProSMAGate | AttentionGate, device: torch.device) -> str | None:
    """Why the fused path can never serve this gate on this device; None if it can."""
    if not isinstance(gate, ProSMAGate):
        return "the fused path is for ProSMA gates"
    if not gate.config.spatial:
        return "the fused path is for gates with a spatial part"
    if gate.config.norm != "none":
        return "the fused path is for gates without a norm"
    if device.type not in PRECISIONS:
        return f"the fused path is for CPU and CUDA, not {device.type}"
    if device.type == "cuda" and not has_triton():
        return "the fused path needs Triton on a GPU, which is not installed"
    return None


def has_triton() -> bool:
    return find_spec("triton") is not None


def _passing_obstacle(gate: ProSMAGate | AttentionGate, skip: Tensor, signal: Tensor) -> str | None:
    """Why the fused path cannot serve this call, though it may serve another one of the same gate; None if it can."""
    assert isinstance(gate, ProSMAGate)
    obstacle = obstacle_to_fusing(gate, skip, signal)
    if obstacle is not None:
        return obstacle
    device = skip.device.type
    if torch.is_autocast_enabled(device) and device == "cpu":
        return "the fused path does not work under autocast on a CPU"
    precisions = precisions_of(gate)
    if not torch.is_autocast_enabled(device):
        precisions |= {skip.dtype, signal.dtype}
    if len(precisions) > 1 or not precisions <= PRECISIONS[device]:
        names = ", ".join(sorted(str(p).removeprefix("torch.") for p in PRECISIONS[device]))
        return f"the fused path is for one precision of {names}"
    return None


def _is_exporting(gate: nn.Module) -> bool:
    """Whether torch.export is at work; before torch 2.7 it can be told from torch.compile only by what it is for: a
    trained network."""
    asked = getattr(torch.compiler, "is_exporting", None)
    return bool(asked() if asked else torch.compiler.is_compiling() and not gate.training)


@cache
def _say_once(message: str) -> None:
    warnings.warn(message, stacklevel=3)
