# mypy: allow-untyped-defs, disable-error-code=assignment
"""What stands between a gate's v and its output, as one Triton kernel: the dilated convolutions, phi, the threshold,
psi and the product with the skip. Neither u, nor z, nor a scale is ever in memory.

A program works on a piece of one row of the image, as those of depthwise_gpu.py do, and on all latent channels, since
phi mixes them. The dilations come in turn, from lines that the caches hold by then. Shapes as in fused.py.
"""

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from nnunet_prosma.fast.depthwise_gpu import weighted_sum

VALUES = 2048
"""Values of u that one program holds: with more, registers do not suffice."""
MOST_ACROSS = 64
"""Voxels that one program works on, at most, for the same reason."""
AT_ONCE = 16
"""Channels that are convolved, and gated, at a time; the rows and columns of the smallest matrices of tensor cores."""
MOST_CHANNELS = 256
"""Latent channels of the largest gates of nnU-Net's standard networks: of more, a program cannot hold u."""


MOST_TAPS = 27
"""Of one dilation; with more, compiled into a row, registers spill."""


def serves(dtype: torch.dtype, latent: int, dilations: Sequence[int], taps: int) -> bool:
    """Whether the kernel is for such a gate. In float32 its matrices are not for tensor cores, and registers spill."""
    half = dtype in (torch.float16, torch.bfloat16)
    return half and latent <= MOST_CHANNELS and taps <= MOST_TAPS and len(dilations) < 8 and max(dilations) < 256


def gated(v: Tensor, field: Any, skip: Tensor, c: Tensor | None, out: Tensor, psi: Tensor) -> None:
    """Writes psi (n, 1, P) and the gated skip, out (n, Cx, P), which may be a part of a larger tensor; v is (n, P, Ca),
    and field the gate's weights, a Field."""
    size, latent = field.size, v.shape[2]
    dtype, sum_type = (torch.float64, tl.float64) if v.dtype == torch.float64 else (torch.float32, tl.float32)
    kernels = torch.stack([kernel.flatten(1).t() for _, kernel, _ in field.branches]).to(dtype)
    phi = torch.stack([share.t() for _, _, share in field.branches])
    dilations = sum(dilation << 8 * branch for branch, (dilation, _, _) in enumerate(field.branches))
    tile = tile_of(latent, size)
    pieces = triton.cdiv(size[2], tile["across"])
    _gate[(size[0] * size[1] * pieces, len(v))](
        *(v, kernels, phi, field.fuse_bias, field.lam, field.row, field.psi_bias),
        *(skip, v if c is None else c, v if field.alpha is None else field.alpha, out, psi),
        *(*size, latent, skip.shape[1], out.stride(0), dilations, len(field.branches), *field.branches[0][1].shape[2:]),
        *(*tile.values(), AT_ONCE, field.hard, c is not None, field.alpha is not None, sum_type),
        num_warps=warps(tile),
    )


def tile_of(latent: int, size: Sequence[int]) -> dict[str, Any]:
    """What one program works on: voxels across a row, and all latent channels."""
    wide = max(int(triton.next_power_of_2(latent)), AT_ONCE)
    across = max(min(int(triton.next_power_of_2(size[2])), VALUES // wide, MOST_ACROSS), AT_ONCE)
    even = latent % AT_ONCE == 0
    return {"across": across, "wide": wide, "even": even, "full": even and size[2] % across == 0}


def warps(tile: dict[str, Any]) -> int:
    """So many that no register spills, as was found by trying."""
    return int(max(tile["across"] // 8, tile["wide"] // 32))


@triton.jit
def _gate(
    field,
    kernels,
    phi,
    fuse_bias,
    lam,
    row_of_psi,
    psi_bias,
    skip,
    c,
    alpha,
    out,
    psi,
    depth,
    height,
    width,
    latent,
    channels,
    out_stride,
    dilations,
    branches: tl.constexpr,
    kd: tl.constexpr,
    kh: tl.constexpr,
    kw: tl.constexpr,
    across: tl.constexpr,
    wide: tl.constexpr,
    even: tl.constexpr,
    full: tl.constexpr,
    at_once: tl.constexpr,
    hard: tl.constexpr,
    by_channel: tl.constexpr,
    residual: tl.constexpr,
    sum_type: tl.constexpr,
):
    """Eq. 2 to 5 at a piece of a row; of dilations, each branch has a byte, the first one the lowest."""
    pieces = tl.cdiv(width, across)
    row = tl.program_id(0) // pieces
    start = tl.program_id(0) % pieces * across
    x = start + tl.arange(0, across)
    sample = tl.program_id(1).to(tl.int64)
    voxels = tl.full((), 1, tl.int64) * depth * height * width
    target = tl.arange(0, wide)
    is_latent = target < latent
    bias = tl.load(fuse_bias + target, mask=is_latent, other=0).to(sum_type)
    u = tl.zeros((across, wide), sum_type) + bias[None, :]
    for branch in range(branches):
        dilation = (dilations >> (8 * branch)) & 255
        for first in range(0, latent, at_once):
            channel = first + tl.arange(0, at_once)
            scale = weighted_sum(
                field + sample * voxels * latent,
                kernels + branch * kd * kh * kw * latent,
                x[:, None] * latent + channel[None, :],
                row // height,
                row % height,
                start,
                channel,
                depth,
                height,
                width,
                latent,
                dilation,
                kd,
                kh,
                kw,
                across,
                at_once,
                even,
                full,
                sum_type,
            )
            share = phi + (branch * latent + channel)[:, None] * latent + target[None, :]
            share = tl.load(share, mask=(channel < latent)[:, None] & is_latent[None, :], other=0)
            u = tl.dot(_in_range(scale, share.dtype), share, u, input_precision="ieee", out_dtype=sum_type)
    most = tl.load(lam + target, mask=is_latent, other=0).to(sum_type)[None, :]
    z = u - tl.minimum(tl.maximum(u, -most), most)
    weight = tl.load(row_of_psi + target, mask=is_latent, other=0).to(sum_type)
    logit = tl.sum(z * weight[None, :], 1) + tl.load(psi_bias).to(sum_type)
    small = tl.exp(-tl.abs(logit))  # a sigmoid that overflows nowhere
    openness = tl.where(logit >= 0, 1, small) / (1 + small)
    if hard:
        openness = tl.where(tl.max(tl.abs(z), 1) > 0, openness, 0)
    openness = openness.to(psi.dtype.element_ty)
    at = row.to(tl.int64) * width + x
    tl.store(psi + sample * voxels + at, openness, mask=x < width)
    for first in range(0, channels, at_once):
        channel = first + tl.arange(0, at_once)
        exists = (channel < channels)[:, None] & (x < width)[None, :]
        place = channel[:, None] * voxels + at[None, :]
        value = tl.load(skip + sample * channels * voxels + place, mask=exists, other=0).to(sum_type)
        factor = tl.broadcast_to(openness.to(sum_type)[None, :], (at_once, across))
        if by_channel:
            factor = factor * tl.load(c + sample * channels + channel, mask=channel < channels, other=0)[:, None]
        if residual:
            factor = 1 + tl.load(alpha).to(sum_type) * (factor - 1)
        tl.store(out + sample * out_stride + place, (value * factor).to(out.dtype.element_ty), mask=exists)


@triton.jit
def _in_range(value, dtype: tl.constexpr):
    """The value in this type; beyond float16's range as its largest number, as gate.within_range has it."""
    if dtype == tl.float16:
        value = tl.minimum(tl.maximum(value, -65504.0), 65504.0)
    return value.to(dtype)
