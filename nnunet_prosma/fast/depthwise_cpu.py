"""Dilated depthwise convolutions on a CPU, where only undilated ones and those in a plane, channels last, are fast.

A dilated convolution is an undilated one on each of the phases into which the dilation splits the image. The weight
gradient of one that is dilated is slow in a plane as well, so it is taken of the phases; and slice by slice, since only
that of a two-dimensional depthwise convolution is fast.

Shapes: a field (n, P, C) has its P = D * H * W voxels in one axis; split into phases it is (phases * n, D', H', W', C).
A kernel is (C, 1, kD, kH, kW), odd along each axis; D = kD = 1 in 2D.
"""

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.grad import conv2d_weight


def convolved(field: Tensor, kernel: Tensor, dilation: int, size: Sequence[int]) -> Tensor:
    """The dilated depthwise convolution of a field, of its shape."""
    if kernel.shape[2] == 1:
        return _convolved_in_planes(field, kernel, dilation, size)
    return join(_convolve(split(field, kernel, dilation, size), kernel), kernel, dilation, size)


def convolved_backward(
    grad: Tensor, field: Tensor, kernel: Tensor, dilation: int, size: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """The gradients of the convolution's field and kernel from that of its result."""
    phases, turned = split(grad, kernel, dilation, size), kernel.flip(2, 3, 4)
    if any(length < k for length, k in zip(phases.shape[2:4], kernel.shape[3:], strict=True)):
        grad_kernel = _kernel_gradient_by_tap(grad, field, kernel, dilation, size)
    else:
        grad_kernel = _kernel_gradient(phases, split(field, kernel, dilation, size), kernel)
    if kernel.shape[2] == 1:
        return _convolved_in_planes(grad, turned, dilation, size), grad_kernel
    return join(_convolve(phases, turned), kernel, dilation, size), grad_kernel


def _convolved_in_planes(field: Tensor, kernel: Tensor, dilation: int, size: Sequence[int]) -> Tensor:
    """The dilated depthwise convolution by a kernel that joins no slices."""
    planes = field.reshape(-1, *size[1:], len(kernel)).permute(0, 3, 1, 2)
    padding = [dilation * (k // 2) for k in kernel.shape[3:]]
    out = F.conv2d(planes, kernel[:, :, 0], None, 1, padding, dilation, len(kernel))
    return out.permute(0, 2, 3, 1).reshape(field.shape)


def split(field: Tensor, kernel: Tensor, dilation: int, size: Sequence[int]) -> Tensor:
    """(n, P, C) -> (phases * n, D', H', W', C), zeros added at the end where a phase would be shorter."""
    n, channels = len(field), field.shape[2]
    strides = _strides(kernel, dilation)
    field = field.view(n, *size, channels)
    missing = [-length % stride for length, stride in zip(size, strides, strict=True)]
    if any(missing):
        field = F.pad(field, (0, 0, 0, missing[2], 0, missing[1], 0, missing[0]))
    (d, h, w), (depth, height, width) = strides, field.shape[1:4]
    field = field.view(n, depth // d, d, height // h, h, width // w, w, channels)
    return field.permute(2, 4, 6, 0, 1, 3, 5, 7).flatten(0, 3)


def join(phases: Tensor, kernel: Tensor, dilation: int, size: Sequence[int]) -> Tensor:
    """The inverse of split."""
    d, h, w = _strides(kernel, dilation)
    _, depth, height, width, channels = phases.shape
    field = phases.view(d, h, w, -1, depth, height, width, channels).permute(3, 4, 0, 5, 1, 6, 2, 7)
    field = field.reshape(-1, depth * d, height * h, width * w, channels)
    return field[:, : size[0], : size[1], : size[2]].flatten(1, 3)


def _strides(kernel: Tensor, dilation: int) -> list[int]:
    """Into how many phases a dilated kernel splits each axis: an axis that it does not reach along stays whole."""
    return [dilation if k > 1 else 1 for k in kernel.shape[2:]]


def _convolve(phases: Tensor, kernel: Tensor) -> Tensor:
    """The undilated depthwise convolution of a split field, of the same size and layout."""
    padding = [k // 2 for k in kernel.shape[2:]]
    return F.conv3d(phases.permute(0, 4, 1, 2, 3), kernel, None, 1, padding, 1, len(kernel)).permute(0, 2, 3, 4, 1)


def _kernel_gradient(grad: Tensor, phases: Tensor, kernel: Tensor) -> Tensor:
    """The gradient of the kernel of _convolve(phases, kernel) from that of its result: for each of the kernel's
    planes the weight gradient of a two-dimensional convolution, with all pairs of slices that the plane joins as its
    batch."""
    planes, depth = kernel.shape[2], phases.shape[1]
    if planes == 1:
        return _plane_gradient(grad, phases, kernel).unsqueeze(2)
    out = torch.zeros_like(kernel)
    for plane in range(planes):
        shift = plane - planes // 2
        if abs(shift) >= depth:
            continue
        to, source = (slice(max(s, 0), depth + min(s, 0)) for s in (-shift, shift))
        out[:, :, plane] = _plane_gradient(grad[:, to], phases[:, source], kernel)
    return out


def _plane_gradient(grad: Tensor, phases: Tensor, kernel: Tensor) -> Tensor:
    """(C, 1, kH, kW): the gradient of the plane of the kernel that joins these slices to those of the gradient."""
    inputs, grads = (t.flatten(0, 1).permute(0, 3, 1, 2) for t in (phases, grad))
    padding = (kernel.shape[3] // 2, kernel.shape[4] // 2)
    return conv2d_weight(inputs, (len(kernel), 1, *kernel.shape[3:]), grads, 1, padding, 1, len(kernel))


def _kernel_gradient_by_tap(grad: Tensor, field: Tensor, kernel: Tensor, dilation: int, size: Sequence[int]) -> Tensor:
    """The same for phases that are smaller than the kernel, of which _kernel_gradient is slow: one sum for each tap."""
    taps, none = list[Tensor](), kernel.new_zeros(len(kernel))
    grad, field = (t.view(len(t), *size, -1) for t in (grad, field))
    for i, j, k in product(*map(range, kernel.shape[2:])):
        shifts = [dilation * (at - length // 2) for at, length in zip((i, j, k), kernel.shape[2:], strict=True)]
        if any(abs(shift) >= length for shift, length in zip(shifts, size, strict=True)):
            taps.append(none)
            continue
        windows = [
            [slice(max(s, 0), length + min(s, 0)) for s in (-shift, shift)]
            for shift, length in zip(shifts, size, strict=True)
        ]
        to, source = ((slice(None), *axes) for axes in zip(*windows, strict=True))
        taps.append((grad[to] * field[source]).sum((0, 1, 2, 3)))
    return torch.stack(taps, 1).view_as(kernel)
