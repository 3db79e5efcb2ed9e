"""The gated concatenation as one operator that keeps little more than the network keeps anyway.

What it computes is ``torch.cat((g, gate(x, g)), 1)`` for a ProSMA gate. The gate's own forward stays the definition,
and the tests hold this against it. What differs:

- Autograd keeps the skip x, the concatenation (which holds g), psi and the average of g. The latent fields are computed
  again in the backward pass, a few samples at a time, so that they never exist for the whole batch.
- Latent fields have their channels last. Then a projection is one matrix product with the tensors as they are, and the
  dilated depthwise convolutions are fast: on a CPU those of depthwise_cpu.py, on a GPU those of depthwise_gpu.py.
- The product x * c * psi is written straight into the concatenation.

Forward and backward pass are custom operators of torch, so that torch.compile keeps them in its graph as they are.
Without it they are called as they stand, since torch takes longer to call an operator of ours than one of its own.

Shapes: x (n, Cx, P), g (n, Cg, P) and latent fields (n, P, Ca) have their P = D * H * W voxels in one axis, D = 1 in
2D. Under autocast x, g and the latent fields are in half precision; the parameters, their gradients, the threshold and
the channel gate are in that of the parameters.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from nnunet_prosma.fast.derivative import differentiable_gradients, is_itself_transformed
from nnunet_prosma.fast.field import Field
from nnunet_prosma.fast.values import definition, values_of
from nnunet_prosma.gate import ProSMAGate

Settings = tuple[list[int], bool, bool, bool]
"""dilations, channel, hard and residual, as all the functions below take them."""
GATE = "Tensor[] values, int[] dilations, bool channel, bool hard, bool residual"
SCHEMA = f"(Tensor signal, Tensor skip, {GATE}) -> (Tensor, Tensor, Tensor)"
BACKWARD_SCHEMA = f"(Tensor grad_out, Tensor skip, Tensor out, Tensor psi, Tensor context, {GATE}) -> Tensor[]"
"""The signature of the operators' backward; torch before 2.7 cannot read them from the functions' signatures."""


def fused_concatenation(gate: ProSMAGate, skip: Tensor, signal: Tensor) -> Tensor:
    """(B, Cg + Cx, *S): the signal, and behind it the gated skip. For gates with a spatial part and without a norm."""
    config = gate.config
    device = skip.device.type
    if torch.is_autocast_enabled(device):
        skip, signal = (tensor.to(torch.get_autocast_dtype(device)) for tensor in (skip, signal))
    settings = (list(config.dilations), config.channel, config.removal == "hard", config.residual)
    if torch.compiler.is_compiling():
        return _concatenate(signal, skip, values_of(gate), *settings)[0]
    out: Tensor = _Concatenation.apply(settings, signal, skip, *values_of(gate))
    return out


def _concatenated(
    signal: Tensor,
    skip: Tensor,
    values: Sequence[Tensor],
    dilations: list[int],
    channel: bool,
    hard: bool,
    residual: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """The concatenation, psi (B, 1, P), and the average of the signal over the image (B, Cg), (B, 0) without c."""
    field = Field(values, dilations, channel, hard, residual, skip)
    g, x = signal.contiguous().flatten(2), skip.contiguous().flatten(2)
    out, psi, context = _empty(signal, skip, values, dilations, channel, hard, residual)
    y = out.flatten(2)
    y[:, : g.shape[1]] = g
    c = field.what(torch.mean(g, 2, dtype=context.dtype, out=context))[-1] if channel else None
    for part in field.chunks(len(skip)):
        field.gate(x[part], g[part], c if c is None else c[part], y[part, g.shape[1] :], psi[part])
    return out, psi, context


def _empty(
    signal: Tensor,
    skip: Tensor,
    values: Sequence[Tensor],
    dilations: list[int],
    channel: bool,
    hard: bool,
    residual: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    out = skip.new_empty(skip.shape[0], signal.shape[1] + skip.shape[1], *skip.shape[2:])
    context = values[0].new_empty(skip.shape[0], signal.shape[1] if channel else 0)
    return out, skip.new_empty(skip.shape[0], 1, math.prod(skip.shape[2:])), context


def _gradients(
    grad_out: Tensor,
    skip: Tensor,
    out: Tensor,
    psi: Tensor,
    context: Tensor,
    values: Sequence[Tensor],
    dilations: list[int],
    channel: bool,
    hard: bool,
    residual: bool,
) -> list[Tensor]:
    """The gradients of the signal, the skip and the values."""
    field = Field(values, dilations, channel, hard, residual, skip)
    x, y = skip.contiguous().flatten(2), out.contiguous().flatten(2)
    g = y[:, : y.shape[1] - x.shape[1]]
    grad_g, grad_y = grad_out.flatten(2).split([g.shape[1], x.shape[1]], 1)
    grad_skip = skip.new_empty(skip.shape)
    grad_signal = skip.new_empty(len(skip), g.shape[1], *skip.shape[2:])
    to_g, to_x = grad_signal.flatten(2), grad_skip.flatten(2)
    hidden, c = field.what(context) if channel else (context, context.new_ones(x.shape[:2]))
    grad_c = torch.empty_like(c)
    for part in field.chunks(len(x)):
        p, by_channel = psi[part], c[part].unsqueeze(1).to(x.dtype)  # (n, 1, P), (n, 1, Cx)
        product = torch.mul(grad_y[part], x[part], out=field.scratch("product", *grad_y[part].shape))
        grad_c[part] = torch.bmm(p, product.transpose(1, 2)).squeeze(1)
        if residual:  # product is that of the output so far; the gate's is alpha times as large
            field.add("alpha", (grad_c[part] * c[part]).sum() - product.sum(dtype=c.dtype))
            product.mul_(field.alpha)
            grad_c[part] *= field.alpha
        grad_logit = torch.bmm(by_channel, product).mul_(p).mul_(1 - p)  # zero where removed: psi is zero there
        torch.mul(grad_y[part], p, out=to_x[part]).mul_(by_channel.transpose(1, 2))
        if residual:
            to_x[part].sub_(grad_y[part]).mul_(field.alpha).add_(grad_y[part])
        to_g[part] = grad_g[part]
        field.backward(x[part], g[part], grad_logit, to_x[part], to_g[part])
    if channel:
        to_g += (field.what_backward(context, hidden, c, grad_c) / g.shape[2]).unsqueeze(2)
    return [grad_signal, grad_skip, *field.gradients_of_values()]


def _empty_gradients(
    grad_out: Tensor,
    skip: Tensor,
    out: Tensor,
    psi: Tensor,
    context: Tensor,
    values: Sequence[Tensor],
    dilations: list[int],
    channel: bool,
    hard: bool,
    residual: bool,
) -> list[Tensor]:
    grad_signal = skip.new_empty(skip.shape[0], out.shape[1] - skip.shape[1], *skip.shape[2:])
    return [grad_signal, skip.new_empty(skip.shape), *(value.new_empty(value.shape) for value in values)]


_concatenate = torch.library.custom_op(
    "nnunet_prosma::gated_concatenation", _concatenated, mutates_args=(), schema=SCHEMA
)
_concatenate.register_fake(_empty)
_concatenate_backward = torch.library.custom_op(
    "nnunet_prosma::gated_concatenation_backward", _gradients, mutates_args=(), schema=BACKWARD_SCHEMA
)
_concatenate_backward.register_fake(_empty_gradients)


class _Concatenation(torch.autograd.Function):
    """The operator outside of torch.compile."""

    @staticmethod
    def forward(ctx: Any, settings: Settings, signal: Tensor, skip: Tensor, *values: Tensor) -> Tensor:
        out, psi, context = _concatenated(signal, skip, values, *settings)
        ctx.settings = settings
        ctx.save_for_backward(skip, out, psi, context, *values)
        return out

    @staticmethod
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        grad_signal, grad_skip, *grads = _backward(ctx, grad_out, _gradients)
        return None, grad_signal, grad_skip, *grads


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    _, skip, values, *ctx.settings = inputs
    ctx.save_for_backward(skip, *output, *values)


def _backward_of_operator(ctx: Any, grad_out: Tensor, *_: Tensor) -> tuple[Any, ...]:
    grad_signal, grad_skip, *grads = _backward(ctx, grad_out, _concatenate_backward)
    return grad_signal, grad_skip, grads, None, None, None, None


def _backward(ctx: Any, grad_out: Tensor, gradients: Callable[..., list[Tensor]]) -> Sequence[Tensor]:
    """The gradients of the signal, the skip and the values."""
    skip, out, psi, context, *values = ctx.saved_tensors
    if not is_itself_transformed(grad_out):
        return gradients(grad_out, skip, out, psi, context, values, *ctx.settings)
    signal = out[:, : out.shape[1] - skip.shape[1]]
    of_signal, of_gated = grad_out.tensor_split([signal.shape[1]], 1)
    dilations, channel, hard, residual = ctx.settings
    run = partial(definition, dilations=dilations, channel=channel, hard=hard, residual=residual)
    grad_skip, grad_signal, *grads = differentiable_gradients(run, [skip, signal, *values], of_gated)
    return [grad_signal + of_signal, grad_skip, *grads]


_concatenate.register_autograd(_backward_of_operator, setup_context=_keep)
