"""The gated concatenation on a CPU: one autograd function that keeps little more than the network keeps anyway.

What it computes is ``torch.cat((g, gate(x, g)), 1)`` for a ProSMA gate; the gate's own forward stays the definition,
and the tests hold this against it. What differs:

- Autograd keeps the skip x, the concatenation (which holds g) and psi. The latent fields are computed again in the
  backward pass, a few samples at a time, so that they never exist for the whole batch.
- Latent fields have their channels last. Then a projection is one matrix product with the tensors as they are, and CPUs
  have fast kernels for a depthwise convolution, if it is undilated: a dilated one is undilated on each of the phases
  into which the dilation splits the image. Its weight gradient is taken slice by slice, since only that of a
  two-dimensional depthwise convolution is fast.
- The product x * c * psi is written straight into the concatenation.

Shapes: x (n, Cx, P), g (n, Cg, P) and latent fields (n, P, Ca) have their P = D * H * W voxels in one axis; for a
convolution a field is split into phases, (phases * n, D', H', W', Ca), with D = 1 in 2D.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.nn.grad import conv2d_weight

from nnunet_prosma.gate import ProSMAGate
from nnunet_prosma.prox import soft_threshold

CHUNK_VOXELS = 1 << 16
"""Samples are taken together until they have as many voxels: a pass over fewer is mostly overhead."""


def fused_concatenation(gate: ProSMAGate, skip: Tensor, signal: Tensor) -> Tensor:
    """(B, Cg + Cx, *S): the signal, and behind it the gated skip. For gates with a spatial part and without a norm."""
    parameters = dict(gate.named_parameters())
    out: Tensor = _GatedConcatenation.apply(signal, skip, gate.config, tuple(parameters), *parameters.values())
    return out


class _GatedConcatenation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, signal: Tensor, skip: Tensor, config: Any, names: tuple[str, ...], *values: Tensor) -> Tensor:
        field = _Field(config, dict(zip(names, values, strict=True)), tuple(skip.shape[2:]))
        signal, skip = signal.contiguous(), skip.contiguous()
        g, x = signal.flatten(2), skip.flatten(2)
        out = skip.new_empty(len(skip), g.shape[1] + x.shape[1], *skip.shape[2:])
        psi = skip.new_empty(len(skip), 1, x.shape[2])
        y = out.flatten(2)
        y[:, : g.shape[1]] = g
        c = field.what(g.mean(2))[-1] if config.channel else None
        for part in field.chunks(len(skip)):
            psi[part] = field.where(field.response(x[part], g[part]).u)
            gated = torch.mul(x[part], psi[part], out=y[part, g.shape[1] :])
            if c is not None:
                gated.mul_(c[part].unsqueeze(2))
        ctx.save_for_backward(skip, out, psi, *values)
        ctx.settings = config, names
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        skip, out, psi, *values = ctx.saved_tensors
        config, names = ctx.settings
        field = _Field(config, dict(zip(names, values, strict=True)), tuple(skip.shape[2:]))
        x, g = skip.flatten(2), out.flatten(2)[:, : out.shape[1] - skip.shape[1]]
        grad_g, grad_y = grad_out.flatten(2).split([g.shape[1], x.shape[1]], 1)
        grad_skip, grad_signal = torch.empty_like(x), torch.empty_like(grad_g, memory_format=torch.contiguous_format)
        grads = {name: torch.zeros_like(value) for name, value in zip(names, values, strict=True)}
        context = g.mean(2)
        *_, c = field.what(context) if config.channel else (x.new_ones(x.shape[:2]),)
        grad_c = torch.empty_like(c)
        for part in field.chunks(len(x)):
            p, by_channel = psi[part], c[part].unsqueeze(1)  # (n, 1, P), (n, 1, Cx)
            product = grad_y[part] * x[part]
            torch.bmm(p, product.transpose(1, 2), out=grad_c[part].unsqueeze(1))
            grad_logit = torch.bmm(by_channel, product).mul_(p).mul_(1 - p)  # zero where removed: psi is zero there
            torch.mul(grad_y[part], p, out=grad_skip[part]).mul_(by_channel.transpose(1, 2))
            grad_signal[part] = grad_g[part]
            field.backward(x[part], g[part], grad_logit, grad_skip[part], grad_signal[part], grads)
        if config.channel:
            grad_signal += (field.what_backward(context, grad_c, grads) / g.shape[2]).unsqueeze(2)
        shape = skip.shape[2:]
        return grad_signal.unflatten(2, shape), grad_skip.unflatten(2, shape), None, None, *grads.values()


@dataclass(frozen=True)
class _Response:
    """The compatibility field u of one chunk, and what its gradient needs."""

    v: Tensor
    """(n, P, Ca), Eq. 1"""
    split: list[Tensor]
    """v as each dilation splits it"""
    scales: list[Tensor]
    """(n, P, Ca), D_d v for each dilation"""
    u: Tensor
    """(n, P, Ca), Eq. 2"""


class _Field:
    """The gate's arithmetic on the weights as matrices, forward and backward."""

    def __init__(self, config: Any, parameters: dict[str, Tensor], size: tuple[int, ...]) -> None:
        self.config, self.parameters = config, parameters
        self.size = size if len(size) == 3 else (1, *size)
        self.latent = len(parameters["theta"])
        self.wx, self.wg, fuse = (self.matrix(name) for name in ("skip_proj", "signal_proj", "fuse"))
        self.phis = fuse.split(self.latent, 1)
        self.kernels = [
            parameters[f"branches.{m}.weight"].reshape(self.latent, 1, -1, *parameters["branches.0.weight"].shape[-2:])
            for m in range(len(config.dilations))
        ]
        self.lam = F.softplus(parameters["theta"])
        self.row = parameters["psi.weight"].flatten()

    def matrix(self, name: str) -> Tensor:
        """(out, in), of a convolution of kernel 1."""
        return self.parameters[f"{name}.weight"].flatten(1)

    def chunks(self, samples: int) -> Iterator[slice]:
        """Samples that are worked on together."""
        step = max(1, CHUNK_VOXELS // math.prod(self.size))
        return (slice(start, min(start + step, samples)) for start in range(0, samples, step))

    def response(self, x: Tensor, g: Tensor) -> _Response:
        """Eq. 1 and 2."""
        v = torch.baddbmm(self.parameters["signal_proj.bias"], g.transpose(1, 2), _batched(self.wg.t(), g))
        v.baddbmm_(x.transpose(1, 2), _batched(self.wx.t(), x)).relu_()
        split, scales = [], []
        u = self.parameters["fuse.bias"].expand_as(v).contiguous()
        for dilation, kernel, phi in self.branches():
            split.append(self.split(v, kernel, dilation))
            scales.append(self.join(_convolve(split[-1], kernel), kernel, dilation))
            u.baddbmm_(scales[-1], _batched(phi.t(), v))
        return _Response(v, split, scales, u)

    def branches(self) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Dilation, kernel (Ca, 1, kD, kH, kW) and share of phi (Ca, Ca) of each branch."""
        return zip(self.config.dilations, self.kernels, self.phis, strict=True)

    def split(self, field: Tensor, kernel: Tensor, dilation: int) -> Tensor:
        """(n, P, Ca) -> (phases * n, D', H', W', Ca), zeros added at the end where a phase would be shorter."""
        n, channels = len(field), self.latent
        strides = _strides(kernel, dilation)
        field = field.view(n, *self.size, channels)
        missing = [-size % stride for size, stride in zip(self.size, strides, strict=True)]
        if any(missing):
            field = F.pad(field, (0, 0, 0, missing[2], 0, missing[1], 0, missing[0]))
        (d, h, w), (depth, height, width) = strides, field.shape[1:4]
        field = field.view(n, depth // d, d, height // h, h, width // w, w, channels)
        return field.permute(2, 4, 6, 0, 1, 3, 5, 7).flatten(0, 3)

    def join(self, split: Tensor, kernel: Tensor, dilation: int) -> Tensor:
        """The inverse of split."""
        d, h, w = _strides(kernel, dilation)
        _, depth, height, width, channels = split.shape
        field = split.view(d, h, w, -1, depth, height, width, channels).permute(3, 4, 0, 5, 1, 6, 2, 7)
        field = field.reshape(-1, depth * d, height * h, width * w, channels)
        return field[:, : self.size[0], : self.size[1], : self.size[2]].flatten(1, 3)

    def where(self, u: Tensor) -> Tensor:
        """psi (n, 1, P)."""
        z = soft_threshold(u, self.lam)
        psi = torch.matmul(z, self.row).add_(self.parameters["psi.bias"]).sigmoid_()
        if self.config.removal == "hard":
            psi *= (z != 0).any(2)
        return psi.unsqueeze(1)

    def what(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """The MLP's hidden layer (B, hidden), and c (B, Cx)."""
        hidden = F.relu(F.linear(context, self.matrix("mlp.0"), self.parameters["mlp.0.bias"]))
        return hidden, torch.sigmoid(F.linear(hidden, self.matrix("mlp.2"), self.parameters["mlp.2.bias"]))

    def what_backward(self, context: Tensor, grad_c: Tensor, grads: dict[str, Tensor]) -> Tensor:
        """The gradient of the context (B, Cg); those of the MLP are added to grads."""
        hidden, c = self.what(context)
        grad = grad_c * c * (1 - c)
        for layer, inputs in (("mlp.2", hidden), ("mlp.0", context)):
            grads[f"{layer}.weight"].flatten(1).addmm_(grad.t(), inputs)
            grads[f"{layer}.bias"] += grad.sum(0)
            grad = grad @ self.matrix(layer)
            if layer == "mlp.2":
                grad = grad * (hidden > 0)
        return grad

    def backward(
        self, x: Tensor, g: Tensor, grad_logit: Tensor, grad_x: Tensor, grad_g: Tensor, grads: dict[str, Tensor]
    ) -> None:
        """From the gradient of psi's logit (n, 1, P): adds to grad_x, grad_g and grads."""
        at = self.response(x, g)
        z = soft_threshold(at.u, self.lam)
        grads["psi.bias"] += grad_logit.sum()
        grads["psi.weight"].flatten().add_(torch.bmm(grad_logit, z).sum((0, 1)))
        sign = z.sign_()
        grads["theta"].sub_(
            torch.bmm(grad_logit, sign).sum((0, 1)) * self.row * torch.sigmoid(self.parameters["theta"])
        )
        grad_u = sign.abs_().mul_(grad_logit.transpose(1, 2)).mul_(self.row)  # the threshold's slope is 0 or 1
        grads["fuse.bias"] += grad_u.sum((0, 1))
        grad_v = torch.zeros_like(at.v)
        for m, (dilation, kernel, phi) in enumerate(self.branches()):
            grad_phi = grads["fuse.weight"].flatten(1).narrow(1, m * self.latent, self.latent)
            grad_phi += torch.bmm(grad_u.transpose(1, 2), at.scales[m]).sum(0)
            split = self.split(torch.bmm(grad_u, _batched(phi, grad_u)), kernel, dilation)
            grads[f"branches.{m}.weight"].view_as(kernel).add_(_kernel_gradient(split, at.split[m], kernel))
            grad_v += self.join(_convolve(split, kernel.flip(2, 3, 4)), kernel, dilation)
        grad_v.mul_(at.v > 0)
        grads["signal_proj.bias"] += grad_v.sum((0, 1))
        for name, matrix, inputs, grad in (("skip_proj", self.wx, x, grad_x), ("signal_proj", self.wg, g, grad_g)):
            grads[f"{name}.weight"].flatten(1).add_(torch.bmm(inputs, grad_v).sum(0).t())
            grad.baddbmm_(_batched(matrix.t(), x), grad_v.transpose(1, 2))


def _batched(matrix: Tensor, like: Tensor) -> Tensor:
    return matrix.expand(len(like), *matrix.shape)


def _strides(kernel: Tensor, dilation: int) -> list[int]:
    """Into how many phases a dilated kernel splits each axis: an axis that it does not reach along stays whole."""
    return [dilation if k > 1 else 1 for k in kernel.shape[2:]]


def _convolve(split: Tensor, kernel: Tensor) -> Tensor:
    """The undilated depthwise convolution of a split field, of the same size and layout."""
    padding = [k // 2 for k in kernel.shape[2:]]
    return F.conv3d(split.permute(0, 4, 1, 2, 3), kernel, None, 1, padding, 1, len(kernel)).permute(0, 2, 3, 4, 1)


def _kernel_gradient(grad: Tensor, split: Tensor, kernel: Tensor) -> Tensor:
    """Of the kernel of _convolve(split, kernel), from the gradient of its result: for each of the kernel's planes the
    weight gradient of a two-dimensional convolution, with all pairs of slices that the plane joins as its batch."""
    out = torch.zeros_like(kernel)
    planes, depth = kernel.shape[2], split.shape[1]
    padding = (kernel.shape[3] // 2, kernel.shape[4] // 2)
    for plane in range(planes):
        shift = plane - planes // 2
        if abs(shift) >= depth:
            continue
        to, source = (slice(max(s, 0), depth + min(s, 0)) for s in (-shift, shift))
        inputs, grads = (t[:, at].flatten(0, 1).permute(0, 3, 1, 2) for t, at in ((split, source), (grad, to)))
        size = (len(kernel), 1, *kernel.shape[3:])
        out[:, :, plane] = conv2d_weight(inputs, size, grads, 1, padding, 1, len(kernel))
    return out
