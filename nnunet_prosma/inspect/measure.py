"""The numbers of one gate on one case."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_dilation, binary_erosion, generate_binary_structure

from nnunet_prosma.inspect.tally import GateTally

PLACES = ("inside", "rim", "outside")
EXTREMES = 5
"""Channels named as the most closed, and as the most open."""


@dataclass(frozen=True)
class Channel:
    """fold is told where there are several: a channel of one fold's network has nothing to do with another's."""

    fold: str
    channel: int
    c: float


@dataclass(frozen=True)
class GateRow:
    """None: the gate has no such thing, or (of a mean) no voxel is there."""

    case: str
    gate: int
    stride: str
    zeros: float | None
    unsupported: float | None
    psi: dict[str, float | None]
    """"all" and, of prediction and truth, prediction_inside, prediction_rim, ..."""
    channels: list[Channel]

    @property
    def name(self) -> str:
        return f"gates.{self.gate}"

    @property
    def c_mean(self) -> float | None:
        return float(np.mean([channel.c for channel in self.channels])) if self.channels else None

    @property
    def most_closed(self) -> list[Channel]:
        return sorted(self.channels, key=lambda channel: channel.c)[:EXTREMES]

    @property
    def most_open(self) -> list[Channel]:
        return sorted(self.channels, key=lambda channel: -channel.c)[:EXTREMES]


def regions(mask: np.ndarray, counted: np.ndarray) -> dict[str, np.ndarray]:
    """Regions of what is counted: inside of the mask, its rim (a voxel on either side of its border, across faces),
    outside.

    The image's own edge is no border.
    """
    flat = mask.squeeze(0) if len(mask) == 1 else mask
    faces = generate_binary_structure(flat.ndim, 1)
    inner = binary_erosion(flat, faces, border_value=1).reshape(mask.shape)
    outer = binary_dilation(flat, faces).reshape(mask.shape)
    return {"inside": inner & counted, "rim": outer & ~inner & counted, "outside": ~outer & counted}


def psi_means(
    psi: np.ndarray, by_mask: Mapping[str, Mapping[str, np.ndarray]], counted: np.ndarray
) -> dict[str, float | None]:
    """by_mask: prediction, truth -> regions."""
    means = {"all": mean(psi, counted)}
    for name, places in by_mask.items():
        means |= {f"{name}_{place}": mean(psi, where) for place, where in places.items()}
    return means


def mean(values: np.ndarray, where: np.ndarray) -> float | None:
    return float(values[where].mean(dtype=np.float64)) if where.any() else None


def gate_row(
    case: str,
    gate: int,
    stride: Sequence[int],
    tallies: Sequence[GateTally],
    folds: Sequence[str],
    psi: dict[str, float | None],
) -> GateRow:
    """tallies: of this gate, one for each fold; shares are means over the folds."""
    several = len(folds) > 1
    channels = [
        Channel(fold if several else "", number, c)
        for fold, tally in zip(folds, tallies, strict=True)
        for number, c in enumerate(tally.mean_c() or [])
    ]
    elements = sum(tally.elements for tally in tallies)
    voxels = sum(tally.voxels for tally in tallies)
    return GateRow(
        case=case,
        gate=gate,
        stride="x".join(map(str, stride)),
        zeros=sum(tally.zeros for tally in tallies) / elements if elements else None,
        unsupported=sum(tally.unsupported for tally in tallies) / voxels if voxels else None,
        psi=psi,
        channels=channels,
    )
