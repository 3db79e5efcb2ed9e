# mypy: allow-untyped-defs
"""Dilated depthwise convolutions on a GPU, as Triton kernels: torch's own are slow there in half precision, the weight
gradient most of all.

Fields have their channels last, so that the channels of a voxel, which share its place and its mask, are read together.
Sums are in float32, or in float64 if the field is. Shapes as in depthwise_cpu.py, whose functions these stand in for.
"""

import math
from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

CHANNELS = 64
"""Channels that one program works on, at most."""
VALUES = 4096
"""Values that one program holds at a time."""
VOXELS_PER_SUM = 4096
"""Voxels that one program of the weight gradient adds up."""


def spread(field: Tensor, kernel: Tensor, dilation: int, size: Sequence[int]) -> Tensor:
    """The dilated depthwise convolution of a field, of its shape."""
    out = torch.empty_like(field)
    n, voxels, channels = field.shape
    block = _block(channels)
    step = VALUES // block
    grid = (triton.cdiv(voxels, step), triton.cdiv(channels, block), n)
    _spread[grid](
        *(field, _taps_first(kernel), out, *size, channels, dilation, *kernel.shape[2:]),
        *(step, block, _sum(field)),
    )
    return out


def spread_backward(
    grad: Tensor, field: Tensor, kernel: Tensor, dilation: int, size: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """The gradients of spread's field and kernel from that of its result."""
    n, voxels, channels = grad.shape
    taps, chunks, block = math.prod(kernel.shape[2:]), triton.cdiv(voxels, VOXELS_PER_SUM), _block(channels)
    dtype = torch.float64 if grad.dtype == torch.float64 else torch.float32
    sums = torch.empty(n, chunks, taps, channels, dtype=dtype, device=grad.device)
    grid = (taps, triton.cdiv(channels, block), n * chunks)
    _kernel_gradient[grid](
        *(grad, field, sums, *size, chunks, channels, dilation, *kernel.shape[2:]),
        *(VALUES // block, VOXELS_PER_SUM, block, _sum(grad)),
    )
    grad_kernel = sums.sum((0, 1)).t().reshape(kernel.shape).to(kernel.dtype)
    return spread(grad, kernel.flip(2, 3, 4), dilation, size), grad_kernel


def _taps_first(kernel: Tensor) -> Tensor:
    """(C, 1, kD, kH, kW) -> (kD * kH * kW, C)."""
    return kernel.flatten(1).t().contiguous()


def _block(channels: int) -> int:
    return min(int(triton.next_power_of_2(channels)), CHANNELS)


def _sum(field: Tensor) -> "tl.dtype":
    return tl.float64 if field.dtype == torch.float64 else tl.float32


@triton.jit
def _shifted(voxel, tap, depth, height, width, dilation, kd: tl.constexpr, kh: tl.constexpr, kw: tl.constexpr):
    """Index of each voxel's neighbour under a tap of the kernel, and whether it lies in the image."""
    dz = (tap // (kh * kw) - kd // 2) * dilation
    dy = (tap // kw % kh - kh // 2) * dilation
    dx = (tap % kw - kw // 2) * dilation
    z = voxel // (height * width) + dz
    y = voxel // width % height + dy
    x = voxel % width + dx
    inside = (z >= 0) & (z < depth) & (y >= 0) & (y < height) & (x >= 0) & (x < width)
    return (z * height + y) * width + x, inside & (voxel < depth * height * width)


@triton.jit
def _spread(
    field,
    kernel,
    out,
    depth,
    height,
    width,
    channels,
    dilation,
    kd: tl.constexpr,
    kh: tl.constexpr,
    kw: tl.constexpr,
    voxels_at_once: tl.constexpr,
    channels_at_once: tl.constexpr,
    sum_type: tl.constexpr,
):
    """out[p, c] = sum over taps of kernel[tap, c] * field[p + tap, c], zero outside of the image."""
    voxel = tl.program_id(0) * voxels_at_once + tl.arange(0, voxels_at_once)
    channel = tl.program_id(1) * channels_at_once + tl.arange(0, channels_at_once)
    sample = tl.program_id(2).to(tl.int64) * depth * height * width * channels
    exists = channel < channels
    total = tl.zeros((voxels_at_once, channels_at_once), sum_type)
    for tap in range(kd * kh * kw):
        place, inside = _shifted(voxel, tap, depth, height, width, dilation, kd, kh, kw)
        mask = inside[:, None] & exists[None, :]
        value = tl.load(field + sample + place[:, None] * channels + channel[None, :], mask=mask, other=0)
        weight = tl.load(kernel + tap * channels + channel, mask=exists, other=0)
        total += value.to(sum_type) * weight.to(sum_type)[None, :]
    mask = (voxel < depth * height * width)[:, None] & exists[None, :]
    tl.store(out + sample + voxel[:, None] * channels + channel[None, :], total.to(out.dtype.element_ty), mask=mask)


@triton.jit
def _kernel_gradient(
    grad,
    field,
    sums,
    depth,
    height,
    width,
    chunks,
    channels,
    dilation,
    kd: tl.constexpr,
    kh: tl.constexpr,
    kw: tl.constexpr,
    voxels_at_once: tl.constexpr,
    voxels_per_sum: tl.constexpr,
    channels_at_once: tl.constexpr,
    sum_type: tl.constexpr,
):
    """sums[sample, chunk, tap, c] = sum over the chunk's voxels p of grad[p, c] * field[p + tap, c]."""
    tap = tl.program_id(0)
    channel = tl.program_id(1) * channels_at_once + tl.arange(0, channels_at_once)
    part = tl.program_id(2)
    sample = (part // chunks).to(tl.int64) * depth * height * width * channels
    exists = channel < channels
    total = tl.zeros((channels_at_once,), sum_type)
    for start in range(0, voxels_per_sum, voxels_at_once):
        voxel = part % chunks * voxels_per_sum + start + tl.arange(0, voxels_at_once)
        place, inside = _shifted(voxel, tap, depth, height, width, dilation, kd, kh, kw)
        mask = inside[:, None] & exists[None, :]
        value = tl.load(field + sample + place[:, None] * channels + channel[None, :], mask=mask, other=0)
        slope = tl.load(grad + sample + voxel[:, None] * channels + channel[None, :], mask=mask, other=0)
        total += tl.sum(value.to(sum_type) * slope.to(sum_type), 0)
    place = (part.to(tl.int64) * (kd * kh * kw) + tap) * channels
    tl.store(sums + place + channel, total, mask=exists)
