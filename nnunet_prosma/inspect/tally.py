"""What is counted of a gate while windows pass: exact zeros, voxels without support, and how open each channel is."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from nnunet_prosma.gate import GateFields


@dataclass
class GateTally:
    """What is counted over all windows and mirrorings of a case, for one gate of one fold."""

    zeros: int = 0
    elements: int = 0
    unsupported: int = 0
    voxels: int = 0
    c: list[Tensor] = field(default_factory=list)
    """(Cx,) of each pass"""

    def add(self, fields: GateFields, padding: Sequence[int]) -> None:
        """padding: voxels on each side, by axis, that nnU-Net added to an image smaller than the patch: not counted."""
        if fields.z is not None:
            image = (slice(None), slice(None), *without(padding, fields.z.shape[2:]))
            survives = fields.z[image] != 0
            anything = survives.any(1)
            self.zeros += survives.numel() - int(torch.count_nonzero(survives))
            self.elements += survives.numel()
            self.unsupported += anything.numel() - int(torch.count_nonzero(anything))
            self.voxels += anything.numel()
        if fields.c is not None:
            self.c += list(fields.c.flatten(1).float().cpu())

    def mean_c(self) -> list[float] | None:
        return torch.stack(self.c).mean(0).tolist() if self.c else None


def without(padding: Sequence[int], size: Sequence[int]) -> tuple[slice, ...]:
    """The part of an image that is no padding; all of an axis where nothing would be left."""
    return tuple(slice(p, n - p) if 2 * p < n else slice(None) for p, n in zip(padding, size, strict=True))
