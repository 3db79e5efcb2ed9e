"""A gate's arithmetic on matrices, forward and backward, as the fused path has it: latent fields have channels last.

Shapes and precisions as in fused.py.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from nnunet_prosma.fast import depthwise_cpu
from nnunet_prosma.fast.values import parameter_names

CHUNK = {"cpu": 1 << 19, "cuda": 1 << 24}
"""Samples are taken together until a latent field has as many values: a pass over fewer is mostly overhead, and of more
a CPU's caches hold less (of 2^17 to 2^20, 2^19 is the fastest for most gates and within 4 % of it for all tried)."""
NARROW = 16
"""Columns of a matrix below which a CPU's products with it take several times as long as with so many."""


class Field:
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
        at_work = {name: value.to(skip.dtype) for name, value in self.parameters.items()}
        self.wx, self.wg, fuse = (at_work[f"{name}.weight"].flatten(1) for name in ("skip_proj", "signal_proj", "fuse"))
        self.signal_bias, self.fuse_bias = at_work["signal_proj.bias"], at_work["fuse.bias"]
        self.row, self.psi_bias = at_work["psi.weight"].flatten(), at_work["psi.bias"]
        kernels = [at_work[f"branches.{m}.weight"] for m in range(len(dilations))]
        kernels = [k if k.ndim == 5 else k.unsqueeze(2) for k in kernels]
        self.depthwise, self.gate_kernel = _kernels(skip, len(fuse), dilations, math.prod(kernels[0].shape[2:]))
        self.narrow = self.depthwise is depthwise_cpu and len(fuse) < NARROW
        self.together = _voxels_a_row(len(fuse), math.prod(self.size)) if self.narrow else 1
        """So many voxels are a row of the matrices that phi is multiplied with."""
        shares = fuse.split(len(fuse), 1)
        if self.together > 1:
            shares = tuple(torch.block_diag(*[share] * self.together) for share in shares)
        self.bias_of_row = self.fuse_bias.repeat(self.together) if self.together > 1 else self.fuse_bias
        self.branches = list(zip(dilations, kernels, shares, strict=True))
        """Dilation, kernel (Ca, 1, kD, kH, kW) and share of phi (Ca, Ca) of each branch, for the voxels of a row."""
        self.lam = F.softplus(self.parameters["theta"])
        self.alpha: Any = at_work["alpha"] if residual else None
        self.samples_at_once = max(1, CHUNK[skip.device.type] // (math.prod(self.size) * len(self.lam)))
        self.held: dict[str, Tensor] = {}
        self.gradients: dict[str, Tensor] = {}
        """Of the parameters, as matrices and vectors, by what was added so far."""

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
        if self.narrow:
            by_channel = self.scratch("by_channel", len(x), len(self.wx), x.shape[2])
            torch.baddbmm(self.signal_bias.unsqueeze(1), _batched(self.wg, g), g, out=by_channel)
            return v.copy_(by_channel.baddbmm_(_batched(self.wx, x), x).relu_().transpose(1, 2))
        torch.baddbmm(self.signal_bias, g.transpose(1, 2), _batched(self.wg.t(), g), out=v)
        return _within_range(v.baddbmm_(x.transpose(1, 2), _batched(self.wx.t(), x)).relu_())

    def response(self, v: Tensor, kept: list[Tensor] | None = None) -> Tensor:
        """Eq. 2: u (n, P, Ca). The scales D_d v, each (n, P, Ca), are added to kept if they are wanted."""
        u = self.scratch("u", *v.shape)
        rows, sofar = self.rows(u), self.bias_of_row
        for dilation, kernel, phi in self.branches:
            scale = _within_range(self.depthwise.convolved(v, kernel, dilation, self.size))
            sofar = torch.addmm(sofar, self.rows(scale), phi.t(), out=rows)
            if kept is not None:
                kept.append(scale)
            del scale  # so that the next takes its memory
        return _within_range(u)

    def rows(self, field: Tensor) -> Tensor:
        """(n, P, Ca) as the matrix that phi is multiplied with, of some voxels a row."""
        return field.reshape(-1, self.together * field.shape[2])

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

    def gate(self, x: Tensor, g: Tensor, c: Tensor | None, out: Tensor, psi: Tensor) -> None:
        """Eq. 1 to 5: writes psi (n, 1, P) and the gated x, out (n, Cx, P)."""
        v = self.project(x, g)
        if self.gate_kernel is not None:
            self.gate_kernel(v, self, x, c, out, psi)
            return
        psi.copy_(self.where(self.response(v)))
        torch.mul(x, psi, out=out)
        if c is not None:
            out.mul_(c.to(x.dtype).unsqueeze(2))
        if self.alpha is not None:
            out.sub_(x).mul_(self.alpha).add_(x)

    def what(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """From the average of the signal over the image (B, Cg): the MLP's hidden layer (B, hidden), and c (B, Cx)."""
        hidden = F.relu(F.linear(context, *self.layer("mlp.0")))
        return hidden, torch.sigmoid(F.linear(hidden, *self.layer("mlp.2")))

    def layer(self, name: str) -> tuple[Tensor, Tensor]:
        """Weight as a matrix, and bias."""
        return self.parameters[f"{name}.weight"].flatten(1), self.parameters[f"{name}.bias"]

    def what_backward(self, context: Tensor, hidden: Tensor, c: Tensor, grad_c: Tensor) -> Tensor:
        """The gradient of the context (B, Cg), from what it gave; those of the MLP are added."""
        grad = grad_c * c * (1 - c)
        for layer, inputs in (("mlp.2", hidden), ("mlp.0", context)):
            self.add(f"{layer}.weight", grad.t() @ inputs)
            self.add(f"{layer}.bias", grad.sum(0))
            grad = grad @ self.layer(layer)[0]
            if layer == "mlp.2":
                grad = grad * (hidden > 0)
        return grad

    def add(self, name: str, gradient: Tensor) -> None:
        """To what a parameter's gradient is so far, in the parameter's precision."""
        if name in self.gradients:
            self.gradients[name] += gradient
        else:
            self.gradients[name] = gradient.to(self.lam.dtype)

    def gradients_of_values(self) -> list[Tensor]:
        """In the parameters' order and of their shapes, each contiguous; zero where nothing was added."""
        return [
            self.gradients[name].reshape(value.shape).contiguous()
            if name in self.gradients
            else torch.zeros_like(value)
            for name, value in self.parameters.items()
        ]

    def backward(self, x: Tensor, g: Tensor, grad_logit: Tensor, grad_x: Tensor, grad_g: Tensor) -> None:
        """Takes the gradient of psi's logit (n, 1, P); adds to grad_x, grad_g and the gradients of the parameters."""
        v, scales = self.project(x, g), list[Tensor]()
        z = self.sparse(self.response(v, scales))
        by_voxel = grad_logit.flatten()
        self.add("psi.bias", by_voxel.sum())
        self.add("psi.weight", by_voxel @ z.flatten(0, 1))
        sign = z.sign_()
        slope = (by_voxel @ sign.flatten(0, 1)) * self.row
        self.add("theta", -slope * torch.sigmoid(self.parameters["theta"]))
        grad_u = sign.abs_().mul_(grad_logit.transpose(1, 2)).mul_(self.row)  # the threshold's slope is 0 or 1
        self.add("fuse.bias", grad_u.sum((0, 1)))
        grad_v: Any = None
        grad_scale = self.scratch("grad_scale", *v.shape)
        u_rows, scale_rows, to_fuse = self.rows(grad_u), self.rows(grad_scale), list[Tensor]()
        for m, (dilation, kernel, phi) in enumerate(self.branches):
            to_fuse.append(_of_a_voxel(u_rows.t() @ self.rows(scales.pop(0)), self.together))
            torch.mm(u_rows, phi, out=scale_rows)
            to_v, to_kernel = self.depthwise.convolved_backward(grad_scale, v, kernel, dilation, self.size)
            grad_v = to_v if grad_v is None else grad_v.add_(to_v)
            self.add(f"branches.{m}.weight", to_kernel)
        self.add("fuse.weight", torch.cat(to_fuse, 1))
        torch.ops.aten.threshold_backward.grad_input(grad_v, v, 0, grad_input=grad_v)
        self.add("signal_proj.bias", grad_v.sum((0, 1)))
        for name, matrix, inputs, grad in (("skip_proj", self.wx, x, grad_x), ("signal_proj", self.wg, g, grad_g)):
            if self.narrow:
                to_matrix = torch.bmm(grad_v.transpose(1, 2), inputs.transpose(1, 2)).sum(0)
            else:
                to_matrix = torch.bmm(inputs, grad_v).sum(0).t()
            self.add(f"{name}.weight", to_matrix)
            grad.baddbmm_(_batched(matrix.t(), x), grad_v.transpose(1, 2))


def _kernels(skip: Tensor, latent: int, dilations: Sequence[int], taps: int) -> tuple[Any, Any]:
    """The module that convolves, and the function that gates by one kernel, None where there is none. Those of Triton,
    which not every torch has, are imported on GPUs alone."""
    if skip.device.type == "cpu":
        return depthwise_cpu, None
    from nnunet_prosma.fast import depthwise_gpu, gated_gpu

    return depthwise_gpu, gated_gpu.gated if gated_gpu.serves(skip.dtype, latent, dilations, taps) else None


def _voxels_a_row(latent: int, voxels: int) -> int:
    """The fewest with which a row is not narrow, and which divide the voxels; 1 if none of up to NARROW do."""
    return next((n for n in range(-(-NARROW // latent), NARROW + 1) if voxels % n == 0), 1)


def _of_a_voxel(matrix: Tensor, together: int) -> Tensor:
    """The sum of the squares along the diagonal, each of which joins a voxel of a row to itself."""
    latent = len(matrix) // together
    return matrix.view(together, latent, together, latent).diagonal(0, 0, 2).sum(2) if together > 1 else matrix


def _within_range(values: Tensor) -> Tensor:
    """What gate.within_range does, in place."""
    most = torch.finfo(torch.float16).max
    return values.clamp_(-most, most) if values.dtype == torch.float16 else values


def _batched(matrix: Tensor, like: Tensor) -> Tensor:
    return matrix.expand(len(like), *matrix.shape)
