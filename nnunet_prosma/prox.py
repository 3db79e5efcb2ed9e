"""The proximal operator of the l1 norm: the sparsifying step of a ProSMA gate (Eq. 3 and 4 of the paper)."""

from torch import Tensor


def soft_threshold(u: Tensor, lam: Tensor) -> Tensor:
    """argmin_z |z - u|^2 / 2 + lam |z|_1, elementwise; lam >= 0 broadcasts. Exactly zero where |u| <= lam.

    Equal to sign(u) max(|u| - lam, 0). Half-precision u with a float32 lam is computed, and returned, in float32.
    """
    return u - u.clamp(-lam, lam)
