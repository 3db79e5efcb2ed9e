"""A checkpoint of nnU-Net cut down to what prediction needs, in tensors and plain values."""

from pathlib import Path
from typing import Any

import torch

from nnunet_prosma.errors import InputError
from nnunet_prosma.host.checkpoints import facts_of, read_checkpoint, required, weights_of, write_checkpoint

FILE = "checkpoint_final.pth"
STOCK = "nnUNetTrainer"
"""The trainer named in a bundle: the plans there hold the whole network, so nnU-Net's own one builds it."""


def convert_checkpoint(source: Path, target: Path, configuration: str, fold: str) -> dict[str, Any]:
    """Write it without optimiser, log and settings; what else is worth knowing of it."""
    checkpoint = read_checkpoint(source)
    trained = required(checkpoint, source, "init_args", "configuration")
    if trained != configuration:
        raise InputError(f"{source} was trained as {trained}, and its folder is named {configuration}")
    facts = facts_of(checkpoint, source)
    axes = facts.inference_allowed_mirroring_axes
    target.parent.mkdir(parents=True, exist_ok=True)
    write_checkpoint(
        {
            "network_weights": weights_of(checkpoint),
            "trainer_name": STOCK,
            "init_args": {"configuration": configuration, "fold": fold},
            "inference_allowed_mirroring_axes": None if axes is None else tuple(int(axis) for axis in axes),
            "current_epoch": facts.current_epoch,
        },
        target,
    )
    return {
        "fold": fold,
        "checkpoint": source.name,
        "trainer": facts.trainer_name,
        "epochs": facts.current_epoch,
    }


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The network's, of a bundle's checkpoint, by torch's weights-only loading."""
    return weights_of(read_checkpoint(path))


def mirroring_axes(checkpoint: dict[str, Any], axes: int, path: Path) -> tuple[int, ...] | None:
    """The axes of the patch that a prediction mirrors, or None, as nnU-Net writes them."""
    said = facts_of(checkpoint, path).inference_allowed_mirroring_axes
    if said is None:
        return None
    if not isinstance(said, (tuple, list)) or not all(type(axis) is int and 0 <= axis < axes for axis in said):
        raise InputError(
            f"{path}: inference_allowed_mirroring_axes must hold axes from 0 to {axes - 1}, got {str(said)[:80]}"
        )
    return tuple(said)
