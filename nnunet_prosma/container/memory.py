"""How much main memory a case will take, before it is taken, and how much there is.

For N voxels and C channels, M voxels in the network's spacing, K classes (or regions) and a patch of P voxels:

    read and preprocess   20 C N + 4 C M + 24 max(N, M)
    predict               4 C M + 5 K M + 2 M + 12 K P, and 2 K M more with several folds (nnU-Net's search for
                          infinite logits takes 3 of the 5)
    back to the image     2 K M + 8 M + 30 max(N, M), one class at a time; an ensemble of models needs all at once,
                          16 K max(N, M), and so does smoothing, with 4 K N more and its pieces

bytes, the largest of the three, and BASE for torch, its libraries and the weights. Where the network runs on the CPU,
its feature maps for one patch come on top. Measured peaks lie below that (docs/submission.md).
"""

import math
from collections.abc import Sequence

from nnunet_prosma.errors import InputError
from nnunet_prosma.host.memory import memory_bytes

BASE = 1.5e9
PIECES = 0.5e9


def bytes_needed(
    voxels: int,
    network_voxels: int,
    channels: int,
    classes: int,
    folds: int,
    models: int,
    patch: int,
    smoothed: bool = False,
) -> float:
    n, m, c, k = voxels, network_voxels, channels, classes
    larger = max(n, m)
    read = 20 * c * n + 4 * c * m + 24 * larger
    predict = 4 * c * m + 5 * k * m + 2 * m + 12 * k * patch + (2 * k * m if folds > 1 else 0)
    one_by_one = models == 1 and not smoothed
    back = 2 * k * m + 8 * m + 30 * larger if one_by_one else 16 * k * larger + 4 * c * n
    pieces = 4 * k * n + PIECES if smoothed else 0.0
    return BASE + max(read, predict, back + pieces)


def network_voxels(size: Sequence[int], spacing: Sequence[float], target_spacing: Sequence[float]) -> int:
    """Voxels of an image (z, y, x) resampled to the network's spacing, of which a 2D network has two entries."""
    kept = len(size) - len(target_spacing)
    factors = [old / new for old, new in zip(spacing[kept:], target_spacing, strict=True)]
    return math.prod(size[:kept]) * math.prod(max(1, round(n * f)) for n, f in zip(size[kept:], factors, strict=True))


def ceiling(set_gb: float | None) -> float:
    """Bytes that this run may take: what was set, or less where the container or the machine has less."""
    return min(memory_bytes(), set_gb * 1e9 if set_gb else float("inf"))


def require_room(needed: float, limit: float, size: Sequence[int]) -> None:
    if needed > limit:
        raise InputError(
            f"an image of {'x'.join(map(str, size))} voxels needs up to {needed / 1e9:.1f} GB of memory, and "
            f"{limit / 1e9:.1f} GB are there: give the job more memory"
        )
