# mypy: allow-untyped-defs, disable-error-code=assignment
"""Dilated depthwise convolutions on a GPU, as Triton kernels: torch's own are slow there in half precision, the weight
gradient most of all.

Fields have their channels last, so that the channels of a voxel, which share its place and its mask, are read together.
A program works on a piece of one row of the image: the lines of the kernel then lie wholly inside of the image or
outside, the taps are unrolled, and only a piece at the end of a row needs masks. Offsets up to the row have 64 bits.
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
VALUES = 2048
"""Values that one program holds at a time."""
ROWS_PER_SUM = 32
"""Rows that one program of the weight gradient adds up."""


def convolved(field: Tensor, kernel: Tensor, dilation: int, size: Sequence[int]) -> Tensor:
    """The dilated depthwise convolution of a field, of its shape."""
    out = torch.empty_like(field)
    tile = _Tile(field, size, VALUES)
    grid = (size[0] * size[1] * tile.pieces, tile.channel_blocks, len(field))
    _convolve[grid](
        *(field, _taps_first(kernel, tile.dtype), out, *size, field.shape[2], dilation, *kernel.shape[2:]),
        *(tile.across, tile.block, tile.even, tile.full, tile.sum),
        num_warps=tile.warps,
    )
    return out


def convolved_backward(
    grad: Tensor, field: Tensor, kernel: Tensor, dilation: int, size: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """The gradients of the convolution's field and kernel from that of its result."""
    n, _, channels = grad.shape
    tile = _Tile(field, size, VALUES // 4)
    parts = triton.cdiv(size[0] * size[1], ROWS_PER_SUM)
    lines, taps = kernel.shape[2] * kernel.shape[3], math.prod(kernel.shape[2:])
    sums = torch.empty(n, parts, taps, channels, dtype=tile.dtype, device=grad.device)
    grid = (lines, tile.channel_blocks, n * parts)
    _kernel_gradient[grid](
        *(grad, field, sums, *size, parts, channels, dilation, *kernel.shape[2:]),
        *(tile.across, ROWS_PER_SUM, tile.block, tile.even, tile.sum),
        num_warps=tile.warps,
    )
    grad_kernel = sums.sum((0, 1)).t().reshape(kernel.shape).to(kernel.dtype)
    return convolved(grad, kernel.flip(2, 3, 4), dilation, size), grad_kernel


class _Tile:
    """What one program works on: so many voxels across a row, and so many channels."""

    def __init__(self, field: Tensor, size: Sequence[int], values: int) -> None:
        channels = field.shape[2]
        self.block = min(int(triton.next_power_of_2(channels)), CHANNELS)
        self.across = min(int(triton.next_power_of_2(size[2])), max(values // self.block, 1))
        self.even = channels % self.block == 0
        self.full = self.even and size[2] % self.across == 0
        self.pieces, self.channel_blocks = triton.cdiv(size[2], self.across), triton.cdiv(channels, self.block)
        self.warps = max(1, min(4, self.block * self.across // 1024))
        is_double = field.dtype == torch.float64
        self.dtype, self.sum = (torch.float64, tl.float64) if is_double else (torch.float32, tl.float32)


def _taps_first(kernel: Tensor, dtype: torch.dtype) -> Tensor:
    """(C, 1, kD, kH, kW) -> (kD * kH * kW, C), in the precision of the sums."""
    return kernel.flatten(1).t().to(dtype).contiguous()


@triton.jit
def _wide(value, sum_type: tl.constexpr):
    """The value in the precision of the sums. The bits of a bfloat16 are the upper half of a float32's: one shift,
    where the conversion takes more."""
    if value.dtype == tl.bfloat16:
        return (value.to(tl.uint16, bitcast=True).to(tl.uint32) << 16).to(tl.float32, bitcast=True)
    else:
        return value.to(sum_type)


@triton.jit
def weighted_sum(
    field,
    kernel,
    place,
    z,
    y,
    start,
    channel,
    depth,
    height,
    width,
    channels,
    dilation,
    kd: tl.constexpr,
    kh: tl.constexpr,
    kw: tl.constexpr,
    across: tl.constexpr,
    channels_at_once: tl.constexpr,
    even: tl.constexpr,
    full: tl.constexpr,
    sum_type: tl.constexpr,
):
    """(across, channels_at_once): the dilated depthwise convolution of one sample's field at a piece of a row, zero
    outside of the image. The piece starts at voxel `start` of row (z, y); place is where its values lie in the row."""
    x = start + tl.arange(0, across)
    exists = (channel < channels)[None, :]
    reach = (kw // 2) * dilation
    is_interior = (start >= reach) & (start + across + reach <= width) & even
    total = tl.zeros((across, channels_at_once), sum_type)
    for i in tl.static_range(kd):
        for j in tl.static_range(kh):
            above, beside = z + (i - kd // 2) * dilation, y + (j - kh // 2) * dilation
            if (above >= 0) & (above < depth) & (beside >= 0) & (beside < height):
                line = field + (above * height + beside).to(tl.int64) * width * channels
                taps = kernel + (i * kh + j) * kw * channels + channel[None, :]
                if is_interior:
                    for k in tl.static_range(kw):
                        value = tl.load(line + (k - kw // 2) * dilation * channels + place)
                        weight = tl.load(taps + k * channels)
                        total = tl.fma(_wide(value, sum_type), tl.broadcast_to(weight, total.shape), total)
                else:
                    for k in tl.static_range(kw):
                        if full and k == kw // 2:
                            value = tl.load(line + place)
                        else:
                            at = x + (k - kw // 2) * dilation
                            mask = ((at >= 0) & (at < width))[:, None] & exists
                            value = tl.load(line + (k - kw // 2) * dilation * channels + place, mask=mask, other=0)
                        weight = tl.load(taps + k * channels, mask=exists, other=0)
                        total = tl.fma(_wide(value, sum_type), tl.broadcast_to(weight, total.shape), total)
    return total


@triton.jit
def _convolve(
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
    across: tl.constexpr,
    channels_at_once: tl.constexpr,
    even: tl.constexpr,
    full: tl.constexpr,
    sum_type: tl.constexpr,
):
    """out[p, c] = sum over taps of kernel[tap, c] * field[p + tap, c], zero outside of the image."""
    pieces = tl.cdiv(width, across)
    row = tl.program_id(0) // pieces
    start = tl.program_id(0) % pieces * across
    x = start + tl.arange(0, across)
    channel = tl.program_id(1) * channels_at_once + tl.arange(0, channels_at_once)
    place = x[:, None] * channels + channel[None, :]
    sample = tl.program_id(2).to(tl.int64) * depth * height * width * channels
    total = weighted_sum(
        field + sample,
        kernel,
        place,
        row // height,
        row % height,
        start,
        channel,
        depth,
        height,
        width,
        channels,
        dilation,
        kd,
        kh,
        kw,
        across,
        channels_at_once,
        even,
        full,
        sum_type,
    )
    target = out + sample + row.to(tl.int64) * width * channels + place
    tl.store(target, total.to(out.dtype.element_ty), mask=(x < width)[:, None] & (channel < channels)[None, :])


@triton.jit
def _kernel_gradient(
    grad,
    field,
    sums,
    depth,
    height,
    width,
    parts,
    channels,
    dilation,
    kd: tl.constexpr,
    kh: tl.constexpr,
    kw: tl.constexpr,
    across: tl.constexpr,
    rows_per_sum: tl.constexpr,
    channels_at_once: tl.constexpr,
    even: tl.constexpr,
    sum_type: tl.constexpr,
):
    """sums[sample, part, tap, c] = sum over the part's voxels p of grad[p, c] * field[p + tap, c], for the taps of one
    of the kernel's lines: they share the gradient, and each is summed over the program's threads once."""
    i, j = tl.program_id(0) // kh, tl.program_id(0) % kh
    channel = tl.program_id(1) * channels_at_once + tl.arange(0, channels_at_once)
    exists = (channel < channels)[None, :]
    part = tl.program_id(2)
    sample = (part // parts).to(tl.int64) * depth * height * width * channels
    first = part % parts * rows_per_sum
    reach = (kw // 2) * dilation
    totals = ()
    for _ in tl.static_range(kw):
        totals = totals + (tl.zeros((across, channels_at_once), sum_type),)  # noqa: RUF005 (Triton knows no stars)
    for step in range(rows_per_sum):
        row = first + step
        above, beside = row // height + (i - kd // 2) * dilation, row % height + (j - kh // 2) * dilation
        exists_here = (above >= 0) & (above < depth) & (beside >= 0) & (beside < height)
        if exists_here & (row < depth * height):
            here = grad + sample + row.to(tl.int64) * width * channels
            line = field + sample + (above * height + beside).to(tl.int64) * width * channels
            for start in range(0, width, across):
                x = start + tl.arange(0, across)
                place = x[:, None] * channels + channel[None, :]
                slope = tl.load(here + place, mask=(x < width)[:, None] & exists, other=0)
                slope = _wide(slope, sum_type)
                is_interior = (start >= reach) & (start + across + reach <= width) & even
                sofar = totals
                totals = ()
                for k in tl.static_range(kw):
                    shift = (k - kw // 2) * dilation
                    if is_interior:
                        value = tl.load(line + shift * channels + place)
                    else:
                        mask = ((x + shift >= 0) & (x + shift < width))[:, None] & exists
                        value = tl.load(line + shift * channels + place, mask=mask, other=0)
                    totals = totals + (tl.fma(_wide(value, sum_type), slope, sofar[k]),)  # noqa: RUF005
    target = sums + (part.to(tl.int64) * (kd * kh) + tl.program_id(0)) * kw * channels + channel
    for k in tl.static_range(kw):
        tl.store(target + k * channels, tl.sum(totals[k], 0), mask=channel < channels)
