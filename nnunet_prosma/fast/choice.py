"""Which path a gate takes on this GPU: it is timed on both, and the fused one is held against the definition.

The fused path is taken where it is right and faster. A kernel that does not compile, or is wrong, is a remark beside
the other path. Nothing here knows a GPU: the clock and the paths are parameters.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from nnunet_prosma.gate import ProSMAGate

Path = Callable[[ProSMAGate, Tensor, Tensor], Tensor]
Clock = Callable[[Callable[[], object]], float]
"""Seconds that a call takes."""
Precision = Callable[[], AbstractContextManager[Any]]

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4, torch.bfloat16: 2e-2, torch.float16: 4e-3}
"""How far the error of the fused path, in norm relative to the exact value, may exceed twice the definition's error in
the same precision. Stated in docs/reference.md."""
CHECKED = {2: 96, 3: 24}
"""Voxels along each axis, at most, of what is held against the definition, by dimension."""
ROUNDS = 5


@dataclass(frozen=True)
class Choice:
    path: str
    fused_ms: float | None = None
    """Milliseconds of a forward and a backward pass; None if it failed."""
    recomputed_ms: float | None = None
    remark: str = ""
    """Why the fused path cannot be, if it cannot."""

    def __str__(self) -> str:
        times = [
            f"{name} {ms:.2f} ms" for name, ms in (("fused", self.fused_ms), ("recomputed", self.recomputed_ms)) if ms
        ]
        return f"{self.path} ({', '.join(times)}{'; ' * bool(times and self.remark)}{self.remark})"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def choose(
    gate: ProSMAGate, shape: Sequence[int], paths: Mapping[str, Path], clock: Clock, precision: Precision
) -> Choice:
    """The choice for a gate whose skip has this shape (B, Cx, *S), on the gate's device and under this autocast.

    paths: "fused", "recomputed", and "reference", the definition.
    """
    try:
        fault = fault_of_fused(gate, shape, paths, precision)
    except Exception as error:  # whatever stops a kernel, the other path is taken
        fault = f"the fused path failed: {_in_short(error)}"
    if fault:
        return Choice("recomputed", remark=fault)
    times: dict[str, float] = {}
    remark = ""
    for name in ("fused", "recomputed"):
        try:
            times[name] = milliseconds(gate, shape, paths[name], clock, precision)
        except Exception as error:
            remark = f"the {name} path failed: {_in_short(error)}"
    fused, recomputed = times.get("fused"), times.get("recomputed")
    faster = fused is not None and recomputed is not None and fused < recomputed
    return Choice("fused" if faster else "recomputed", fused, recomputed, remark)


def fault_of_fused(
    gate: ProSMAGate, shape: Sequence[int], paths: Mapping[str, Path], precision: Precision
) -> str | None:
    """What is wrong with the fused path's values or gradients on a part of that shape; None if they are right."""
    most = CHECKED[len(shape) - 2]
    small = (min(shape[0], 2), shape[1], *(min(size, most) for size in shape[2:]))
    exact = results(deepcopy(gate).double(), small, paths["reference"], nullcontext)
    ours, definition = (results(gate, small, paths[name], precision) for name in ("fused", "reference"))
    tolerance = TOLERANCE[ours[0].dtype]
    for name, mine, theirs, truth in zip(_names(gate), ours, definition, exact, strict=True):
        error, bound = _error(mine, truth), 2 * _error(theirs, truth) + tolerance
        if not error <= bound:  # also where it is not a number
            return f"the fused path is wrong: {name} is off by {error:.1e}, and may be by {bound:.1e}"
    return None


def results(gate: ProSMAGate, shape: Sequence[int], path: Path, precision: Precision) -> list[Tensor]:
    """The concatenation, and the gradients of skip, signal and parameters for a random gradient of it."""
    skip, signal = _inputs(gate, shape)
    with precision():
        out = path(gate, skip, signal)
    weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(out.device, out.dtype)
    return [out.detach(), *torch.autograd.grad(out, [skip, signal, *gate.parameters()], weight)]


def milliseconds(gate: ProSMAGate, shape: Sequence[int], path: Path, clock: Clock, precision: Precision) -> float:
    """The shortest of ROUNDS forward and backward passes, after two that warm up."""
    skip, signal = _inputs(gate, shape)
    given = [skip, signal, *gate.parameters()]

    def step() -> None:
        with precision():
            out = path(gate, skip, signal)
        torch.autograd.grad(out, given, torch.ones_like(out))

    for _ in range(2):
        step()
    return 1000 * min(clock(step) for _ in range(ROUNDS))


def _inputs(gate: ProSMAGate, shape: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Random inputs of the gate's device and precision; the same in each call."""
    like, channels = gate.theta, gate.signal_proj.weight.shape[1]
    seeded = torch.Generator(like.device).manual_seed(0)
    shapes = (tuple(shape), (shape[0], channels, *shape[2:]))
    single = [torch.randn(s, generator=seeded, device=like.device) for s in shapes]
    skip, signal = (values.to(like.dtype).requires_grad_() for values in single)
    return skip, signal


def _names(gate: ProSMAGate) -> list[str]:
    parameters = (f"the gradient of {name}" for name, _ in gate.named_parameters())
    return ["the output", "the gradient of the skip", "the gradient of the signal", *parameters]


def _error(value: Tensor, truth: Tensor) -> float:
    difference = (value.double() - truth.double()).norm().item()
    return difference / max(truth.double().norm().item(), math.ulp(1.0))


def _in_short(error: Exception) -> str:
    """The first line of what it says, since a compiler's error has hundreds."""
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}: {said[0][:200]}" if said else type(error).__name__
