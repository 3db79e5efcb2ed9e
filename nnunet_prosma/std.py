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

RADIUS = 4
"""Standard deviations after which the Gaussian is cut off."""
SMALLEST = 0.5
"""Below so many voxels a sampled Gaussian is no Gaussian any more: such an axis is left alone."""


def std_softmax(
    logits: Tensor, lam: float, sigma: float | Sequence[float], eps: float = 1.0, iterations: int = 10
) -> Tensor:
    """u (B, C, *S) after so many steps from softmax(logits / eps). sigma in voxels: for all axes, or one for each."""
    blurs = bands(sigma, logits)
    u = torch.softmax(logits / eps, 1)
    if lam == 0:
        return u
    inside = blurred(torch.ones_like(logits[:1, :1]), blurs)
    for _ in range(iterations):
        u = torch.softmax((logits - lam * (inside - 2 * blurred(u, blurs))) / eps, 1)
    return u


def energy(u: Tensor, logits: Tensor, lam: float, sigma: float | Sequence[float], eps: float = 1.0) -> Tensor:
    """What the steps of std_softmax lower, (B,): one number for each image."""
    blurs = bands(sigma, u)
    length = u * (blurred(torch.ones_like(u), blurs) - blurred(u, blurs))
    return (-u * logits + eps * torch.xlogy(u, u) + lam * length).flatten(1).sum(1)


def blurred(field: Tensor, blurs: Sequence[Tensor | None]) -> Tensor:
    """k * field (B, C, *S): each axis is multiplied by its matrix; None leaves an axis alone."""
    for axis, blur in enumerate(blurs, start=2):
        if blur is not None:
            folded = field.reshape(-1, field.shape[axis], math.prod(field.shape[axis + 1 :]))
            product = folded.squeeze(2) @ blur.t() if axis == field.ndim - 1 else blur @ folded
            field = product.view(*field.shape[:axis], len(blur), *field.shape[axis + 1 :])
    return field


def bands(sigma: float | Sequence[float], like: Tensor) -> list[Tensor | None]:
    """Each of the image's axes gets the matrix that blurs along it, in the image's precision, or None."""
    axes = like.ndim - 2
    sigmas = [float(sigma)] * axes if isinstance(sigma, int | float) else [float(s) for s in sigma]
    if len(sigmas) != axes or not all(0 <= s < math.inf for s in sigmas):
        raise ValueError(f"sigma must be a number of at least 0, or one for each of the {axes} axes, got {sigma!r}")
    return [
        None if s < SMALLEST else band(s, length).to(like) for s, length in zip(sigmas, like.shape[2:], strict=True)
    ]


def band(sigma: float, length: int) -> Tensor:
    """(length, length), in float64: the Gaussian around each place of an axis, symmetric, with zeros outside."""
    weights = gaussian(sigma)
    place = torch.arange(length)
    distance = (place[:, None] - place).abs()
    radius = len(weights) // 2
    return torch.where(distance <= radius, weights[(radius + distance).clamp(max=2 * radius)], 0.0)


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
