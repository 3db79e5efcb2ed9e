"""Softmax with a prior of short boundaries, by soft threshold dynamics (STD): a layer for networks of one's own.

    argmin over u  -<u, o> + eps <u, log u> + lam sum_i <u_i, k * (1 - u_i)>,   u_i >= 0, sum_i u_i = 1 at each voxel

o (B, C, *S) are logits, k is a normalised Gaussian, and outside of the image u is zero, which keeps k symmetric. The
last term approximates the length of each class's boundary: along a straight one, sigma / sqrt(2 pi) per class and unit
of length. Each step is a softmax, and none raises the energy: the term is concave, so that its tangent lies above it.

    u <- softmax((o - lam (k * 1 - 2 k * u)) / eps)
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

RADIUS = 4
"""Standard deviations after which the Gaussian is cut off."""
SMALLEST = 0.5
"""Below so many voxels a sampled Gaussian is no Gaussian any more: such an axis is left alone."""


def std_softmax(
    logits: Tensor, lam: float, sigma: float | Sequence[float], eps: float = 1.0, iterations: int = 10
) -> Tensor:
    """u (B, C, *S) after so many steps from softmax(logits / eps). sigma in voxels: for all axes, or one for each."""
    kernels = gaussians(sigma, logits)
    u = torch.softmax(logits / eps, 1)
    if lam == 0:
        return u
    inside = blurred(torch.ones_like(logits[:1, :1]), kernels)
    for _ in range(iterations):
        u = torch.softmax((logits - lam * (inside - 2 * blurred(u, kernels))) / eps, 1)
    return u


def energy(u: Tensor, logits: Tensor, lam: float, sigma: float | Sequence[float], eps: float = 1.0) -> Tensor:
    """What the steps of std_softmax lower, (B,): one number for each image."""
    length = u * (blurred(torch.ones_like(u), gaussians(sigma, u)) - blurred(u, gaussians(sigma, u)))
    return (-u * logits + eps * torch.xlogy(u, u) + lam * length).flatten(1).sum(1)


def blurred(field: Tensor, kernels: Sequence[Tensor | None]) -> Tensor:
    """k * field (B, C, *S), axis by axis; None leaves an axis alone."""
    convolve = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[field.ndim - 2]
    out = field.flatten(0, 1).unsqueeze(1)
    for axis, kernel in enumerate(kernels):
        if kernel is not None:
            shape = [1] * (field.ndim - 2)
            shape[axis] = len(kernel)
            padding = [length // 2 for length in shape]
            out = convolve(out, kernel.view(1, 1, *shape), padding=padding)
    return out.view(field.shape)


def gaussians(sigma: float | Sequence[float], like: Tensor) -> list[Tensor | None]:
    """A normalised kernel for each of the image's axes, in its precision; None for an axis that is left alone."""
    axes = like.ndim - 2
    sigmas = [float(sigma)] * axes if isinstance(sigma, int | float) else [float(s) for s in sigma]
    if len(sigmas) != axes or not all(0 <= s < math.inf for s in sigmas):
        raise ValueError(f"sigma must be a number of at least 0, or one for each of the {axes} axes, got {sigma!r}")
    return [None if s < SMALLEST else gaussian(s).to(like) for s in sigmas]


def gaussian(sigma: float) -> Tensor:
    """(2 r + 1,), in float64: a sampled Gaussian, cut off at r = RADIUS * sigma and normalised."""
    radius = math.ceil(RADIUS * sigma)
    weights = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, dtype=torch.float64) / sigma) ** 2)
    return weights / weights.sum()


class STDSoftmax(nn.Module):
    """std_softmax as a layer: logits (B, C, *S) -> u (B, C, *S). It has no parameters; gradients pass all its steps."""

    def __init__(self, lam: float, sigma: float | Sequence[float], eps: float = 1.0, iterations: int = 10) -> None:
        super().__init__()
        if not 0 <= lam < math.inf:
            raise ValueError(f"lam must be a finite number of at least 0, got {lam!r}")
        if not 0 < eps < math.inf:
            raise ValueError(f"eps must be a finite number above 0, got {eps!r}")
        if isinstance(iterations, bool) or not isinstance(iterations, int) or iterations < 0:
            raise ValueError(f"iterations must be a whole number of at least 0, got {iterations!r}")
        self.lam, self.sigma, self.eps, self.iterations = lam, sigma, eps, iterations

    def forward(self, logits: Tensor) -> Tensor:
        return std_softmax(logits, self.lam, self.sigma, self.eps, self.iterations)

    def extra_repr(self) -> str:
        return f"lam={self.lam}, sigma={self.sigma}, eps={self.eps}, iterations={self.iterations}"
