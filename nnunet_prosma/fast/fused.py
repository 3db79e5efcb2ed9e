"""The gated concatenation as one operator that keeps little more than the network keeps anyway.

What it computes is ``torch.cat((g, gate(x, g)), 1)`` for a ProSMA gate. The gate's own forward stays the definition,
and the tests hold this against it. What differs:

- Autograd keeps the skip x, the concatenation (which holds g) and psi. The latent fields are computed again in the
  backward pass, a few samples at a time, so that they never exist for the whole batch.
- Latent fields have their channels last. Then a projection is one matrix product with the tensors as they are, and the
  dilated depthwise convolutions are fast: on a CPU those of depthwise_cpu.py, on a GPU those of depthwise_gpu.py.
- The product x * c * psi is written straight into the concatenation.

Forward and backward pass are custom operators of torch, so that torch.compile keeps them in its graph as they are.

Shapes: x (n, Cx, P), g (n, Cg, P) and latent fields (n, P, Ca) have their P = D * H * W voxels in one axis, D = 1 in
2D. Under autocast x, g and the latent fields are in half precision; the parameters, their gradients, the threshold and
the channel gate are in that of the parameters.
"""

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from nnunet_prosma.fast import depthwise_cpu
from nnunet_prosma.fast.derivative import differentiable_gradients, is_itself_transformed
from nnunet_prosma.fast.values import definition, parameter_names, values_of
from nnunet_prosma.gate import ProSMAGate

CHUNK = {"cpu": 1 << 20, "cuda": 1 << 24}
"""Samples are taken together until a latent field has as many values: a pass over fewer is mostly overhead, and on a
CPU more do not stay in its caches."""

GATE = "Tensor[] values, int[] dilations, bool channel, bool hard, bool residual"
SCHEMA = f"(Tensor signal, Tensor skip, {GATE}) -> (Tensor, Tensor)"
BACKWARD_SCHEMA = f"(Tensor grad_out, Tensor skip, Tensor out, Tensor psi, {GATE}) -> Tensor[]"
"""Of the operators; torch before 2.7 cannot read them from the functions' signatures."""


def fused_concatenation(gate: ProSMAGate, skip: Tensor, signal: Tensor) -> Tensor:
    """(B, Cg + Cx, *S): the signal, and behind it the gated skip. For gates with a spatial part and without a norm."""
    config = gate.config
    device = skip.device.type
    if torch.is_autocast_enabled(device):
        skip, signal = (tensor.to(torch.get_autocast_dtype(device)) for tensor in (skip, signal))
    out, _ = _concatenate(
        signal,
        skip,
        values_of(gate),
        list(config.dilations),
        config.channel,
        config.removal == "hard",
        config.residual,
    )
    return out


@torch.library.custom_op("nnunet_prosma::gated_concatenation", mutates_args=(), schema=SCHEMA)
def _concatenate(
    signal: Tensor,
    skip: Tensor,
    values: list[Tensor],
    dilations: list[int],
    channel: bool,
    hard: bool,
    residual: bool,
) -> tuple[Tensor, Tensor]:
    """The concatenation, and psi (B, 1, P)."""
    field = _Field(values, dilations, channel, hard, residual, skip)
    g, x = signal.contiguous().flatten(2), skip.contiguous().flatten(2)
    out, psi = _empty(signal, skip, values, dilations, channel, hard, residual)
    y = out.flatten(2)
    y[:, : g.shape[1]] = g
    c = field.what(field.context(g))[-1].to(x.dtype) if channel else None
    for part in field.chunks(len(skip)):
        psi[part] = field.where(field.response(field.project(x[part], g[part])))
        gated = torch.mul(x[part], psi[part], out=y[part, g.shape[1] :])
        if c is not None:
            gated.mul_(c[part].unsqueeze(2))
        if residual:
            gated.sub_(x[part]).mul_(field.alpha).add_(x[part])
    return out, psi


@_concatenate.register_fake
def _empty(
    signal: Tensor,
    skip: Tensor,
    values: list[Tensor],
    dilations: list[int],
    channel: bool,
    hard: bool,
    residual: bool,
) -> tuple[Tensor, Tensor]:
    out = skip.new_empty(skip.shape[0], signal.shape[1] + skip.shape[1], *skip.shape[2:])
    return out, skip.new_empty(skip.shape[0], 1, math.prod(skip.shape[2:]))


@torch.library.custom_op("nnunet_prosma::gated_concatenation_backward", mutates_args=(), schema=BACKWARD_SCHEMA)
def _concatenate_backward(
    grad_out: Tensor,
    skip: Tensor,
    out: Tensor,
    psi: Tensor,
    values: list[Tensor],
    dilations: list[int],
    channel: bool,
    hard: bool,
    residual: bool,
) -> list[Tensor]:
    """The gradients of the signal, the skip and the values."""
    field = _Field(values, dilations, channel, hard, residual, skip)
    x, y = skip.contiguous().flatten(2), out.contiguous().flatten(2)
    g = y[:, : y.shape[1] - x.shape[1]]
    grad_g, grad_y = grad_out.flatten(2).split([g.shape[1], x.shape[1]], 1)
    grad_signal, grad_skip, *grad_values = _empty_gradients(
        grad_out, skip, out, psi, values, dilations, channel, hard, residual
    )
    to_g, to_x = grad_signal.flatten(2), grad_skip.flatten(2)
    grads = dict(zip(field.parameters, (grad.zero_() for grad in grad_values), strict=True))
    context = field.context(g)
    c = field.what(context)[-1] if channel else context.new_ones(x.shape[:2])
    grad_c = torch.empty_like(c)
    for part in field.chunks(len(x)):
        p, by_channel = psi[part], c[part].unsqueeze(1).to(x.dtype)  # (n, 1, P), (n, 1, Cx)
        product = torch.mul(grad_y[part], x[part], out=field.scratch("product", *grad_y[part].shape))
        grad_c[part] = torch.bmm(p, product.transpose(1, 2)).squeeze(1)
        if residual:  # product is that of the output so far; the gate's is alpha times as large
            grads["alpha"] += (grad_c[part] * c[part]).sum() - product.sum(dtype=c.dtype)
            product.mul_(field.alpha)
            grad_c[part] *= field.alpha
        grad_logit = torch.bmm(by_channel, product).mul_(p).mul_(1 - p)  # zero where removed: psi is zero there
        torch.mul(grad_y[part], p, out=to_x[part]).mul_(by_channel.transpose(1, 2))
        if residual:
            to_x[part].sub_(grad_y[part]).mul_(field.alpha).add_(grad_y[part])
        to_g[part] = grad_g[part]
        field.backward(x[part], g[part], grad_logit, to_x[part], to_g[part], grads)
    if channel:
        to_g += (field.what_backward(context, grad_c, grads) / g.shape[2]).unsqueeze(2)
    return [grad_signal, grad_skip, *grad_values]


@_concatenate_backward.register_fake
def _empty_gradients(
    grad_out: Tensor,
    skip: Tensor,
    out: Tensor,
    psi: Tensor,
    values: list[Tensor],
    dilations: list[int],
    channel: bool,
    hard: bool,
    residual: bool,
) -> list[Tensor]:
    grad_signal = skip.new_empty(skip.shape[0], out.shape[1] - skip.shape[1], *skip.shape[2:])
    return [grad_signal, skip.new_empty(skip.shape), *(value.new_empty(value.shape) for value in values)]


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    _, skip, values, *ctx.settings = inputs
    ctx.save_for_backward(skip, *output, *values)


def _gradients(ctx: Any, grad_out: Tensor, _: Tensor) -> tuple[Any, ...]:
    skip, out, psi, *values = ctx.saved_tensors
    if is_itself_transformed(grad_out):
        signal = out[:, : out.shape[1] - skip.shape[1]]
        of_signal, of_gated = grad_out.tensor_split([signal.shape[1]], 1)
        dilations, channel, hard, residual = ctx.settings
        run = partial(definition, dilations=dilations, channel=channel, hard=hard, residual=residual)
        grad_skip, grad_signal, *grads = differentiable_gradients(run, [skip, signal, *values], of_gated)
        grad_signal = grad_signal + of_signal
    else:
        grad_signal, grad_skip, *grads = _concatenate_backward(grad_out, skip, out, psi, values, *ctx.settings)
    return grad_signal, grad_skip, grads, None, None, None, None


_concatenate.register_autograd(_gradients, setup_context=_keep)


class _Field:
    """The gate's arithmetic on the weights as matrices, forward and backward."""

    def __init__(
        self,
        values: Sequence[Tensor],
        dilations: Sequence[int],
        channel: bool,
        hard: bool,
        residual: bool,
        skip: Tensor,
    ) -> None:
        self.parameters = dict(zip(parameter_names(len(dilations), channel, residual), values, strict=True))
        self.hard = hard
        self.size = tuple(skip.shape[2:]) if skip.ndim == 5 else (1, *skip.shape[2:])
        self.depthwise: Any = _depthwise(skip.device)
        at_work = {name: value.to(skip.dtype) for name, value in self.parameters.items()}
        self.wx, self.wg, fuse = (at_work[f"{name}.weight"].flatten(1) for name in ("skip_proj", "signal_proj", "fuse"))
        self.signal_bias, self.fuse_bias = at_work["signal_proj.bias"], at_work["fuse.bias"]
        self.row, self.psi_bias = at_work["psi.weight"].flatten(), at_work["psi.bias"]
        kernels = [at_work[f"branches.{m}.weight"] for m in range(len(dilations))]
        kernels = [k if k.ndim == 5 else k.unsqueeze(2) for k in kernels]
        self.branches = list(zip(dilations, kernels, fuse.split(len(fuse), 1), strict=True))
        """Dilation, kernel (Ca, 1, kD, kH, kW) and share of phi (Ca, Ca) of each branch."""
        self.lam = F.softplus(self.parameters["theta"])
        self.alpha: Any = at_work["alpha"] if residual else None
        self.samples_at_once = max(1, CHUNK[skip.device.type] // (math.prod(self.size) * len(self.lam)))
        self.held: dict[str, Tensor] = {}

    def chunks(self, samples: int) -> Iterator[slice]:
        """Samples that are worked on together."""
        step = self.samples_at_once
        return (slice(start, min(start + step, samples)) for start in range(0, samples, step))

    def scratch(self, name: str, samples: int, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        """(samples, *shape) to write into, the same memory for each chunk: on a CPU, memory that is new to the process
        takes as long as what is computed in it. No chunk is larger than the first."""
        if name not in self.held:
            self.held[name] = self.wx.new_empty(samples, *shape, dtype=dtype)
        return self.held[name][:samples]

    def project(self, x: Tensor, g: Tensor) -> Tensor:
        """Eq. 1: v (n, P, Ca)."""
        v = self.scratch("v", len(x), x.shape[2], len(self.wx))
        torch.baddbmm(self.signal_bias, g.transpose(1, 2), _batched(self.wg.t(), g), out=v)
        return _within_range(v.baddbmm_(x.transpose(1, 2), _batched(self.wx.t(), x)).relu_())

    def response(self, v: Tensor, kept: list[Tensor] | None = None) -> Tensor:
        """Eq. 2: u (n, P, Ca). The scales D_d v, each (n, P, Ca), are added to kept if they are wanted."""
        u = self.scratch("u", *v.shape).copy_(self.fuse_bias)
        for dilation, kernel, phi in self.branches:
            scale = _within_range(self.depthwise.spread(v, kernel, dilation, self.size))
            u.baddbmm_(scale, _batched(phi.t(), v))
            if kept is not None:
                kept.append(scale)
            del scale  # so that the next takes its memory
        return _within_range(u)

    def sparse(self, u: Tensor) -> Tensor:
        """Eq. 3 and 4: z (n, P, Ca), in the place of u; computed as soft_threshold does."""
        clamped = torch.clamp(u, -self.lam, self.lam, out=self.scratch("clamped", *u.shape, dtype=self.lam.dtype))
        return torch.sub(u, clamped, out=u)

    def where(self, u: Tensor) -> Tensor:
        """psi (n, 1, P)."""
        z = self.sparse(u)
        psi = torch.matmul(z, self.row).add_(self.psi_bias).sigmoid_()
        if self.hard:
            psi *= (z != 0).any(2)
        return psi.unsqueeze(1)

    def context(self, g: Tensor) -> Tensor:
        """(B, Cg), the average of the signal over the image."""
        return g.mean(2, dtype=self.lam.dtype)

    def what(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """The MLP's hidden layer (B, hidden), and c (B, Cx)."""
        hidden = F.relu(F.linear(context, *self.layer("mlp.0")))
        return hidden, torch.sigmoid(F.linear(hidden, *self.layer("mlp.2")))

    def layer(self, name: str) -> tuple[Tensor, Tensor]:
        """Weight as a matrix, and bias."""
        return self.parameters[f"{name}.weight"].flatten(1), self.parameters[f"{name}.bias"]

    def what_backward(self, context: Tensor, grad_c: Tensor, grads: dict[str, Tensor]) -> Tensor:
        """The gradient of the context (B, Cg); those of the MLP are added to grads."""
        hidden, c = self.what(context)
        grad = grad_c * c * (1 - c)
        for layer, inputs in (("mlp.2", hidden), ("mlp.0", context)):
            grads[f"{layer}.weight"].flatten(1).addmm_(grad.t(), inputs)
            grads[f"{layer}.bias"] += grad.sum(0)
            grad = grad @ self.layer(layer)[0]
            if layer == "mlp.2":
                grad = grad * (hidden > 0)
        return grad

    def backward(
        self, x: Tensor, g: Tensor, grad_logit: Tensor, grad_x: Tensor, grad_g: Tensor, grads: dict[str, Tensor]
    ) -> None:
        """From the gradient of psi's logit (n, 1, P): adds to grad_x, grad_g and grads."""
        v, scales = self.project(x, g), list[Tensor]()
        z = self.sparse(self.response(v, scales))
        grads["psi.bias"] += grad_logit.sum()
        grads["psi.weight"].flatten().add_(torch.bmm(grad_logit, z).sum((0, 1)))
        sign = z.sign_()
        slope = torch.bmm(grad_logit, sign).sum((0, 1)) * self.row
        grads["theta"].sub_(slope * torch.sigmoid(self.parameters["theta"]))
        grad_u = sign.abs_().mul_(grad_logit.transpose(1, 2)).mul_(self.row)  # the threshold's slope is 0 or 1
        grads["fuse.bias"] += grad_u.sum((0, 1))
        grad_v = self.scratch("grad_v", *v.shape).zero_()
        for m, (dilation, kernel, phi) in enumerate(self.branches):
            grad_phi = grads["fuse.weight"].flatten(1).narrow(1, m * len(phi), len(phi))
            grad_phi += torch.bmm(grad_u.transpose(1, 2), scales.pop(0)).sum(0)
            grad_scale = torch.bmm(grad_u, _batched(phi, grad_u), out=self.scratch("grad_scale", *v.shape))
            to_v, to_kernel = self.depthwise.spread_backward(grad_scale, v, kernel, dilation, self.size)
            grad_v += to_v
            grads[f"branches.{m}.weight"] += to_kernel.view_as(grads[f"branches.{m}.weight"])
        torch.ops.aten.threshold_backward.grad_input(grad_v, v, 0, grad_input=grad_v)
        grads["signal_proj.bias"] += grad_v.sum((0, 1))
        for name, matrix, inputs, grad in (("skip_proj", self.wx, x, grad_x), ("signal_proj", self.wg, g, grad_g)):
            grads[f"{name}.weight"].flatten(1).add_(torch.bmm(inputs, grad_v).sum(0).t())
            grad.baddbmm_(_batched(matrix.t(), x), grad_v.transpose(1, 2))


def _depthwise(device: torch.device) -> Any:
    """The module whose spread and spread_backward are for this device; Triton, which not every torch has, late."""
    if device.type == "cpu":
        return depthwise_cpu
    from nnunet_prosma.fast import depthwise_gpu

    return depthwise_gpu


def _within_range(values: Tensor) -> Tensor:
    """As gate.within_range, in place."""
    most = torch.finfo(torch.float16).max
    return values.clamp_(-most, most) if values.dtype == torch.float16 else values


def _batched(matrix: Tensor, like: Tensor) -> Tensor:
    return matrix.expand(len(like), *matrix.shape)
