"""nnU-Net's checkpoints, read without executing anything that stands in the file."""

import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from nnunet_prosma.errors import InputError
from nnunet_prosma.host.check import converted
from nnunet_prosma.host.schema import CheckpointFacts

_SCALAR = np.float64(0).__reduce__()[0]
_SCALARS = [(_SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]  # numpy 1 and 2 name it so
PLAIN: list[Any] = [*_SCALARS, np.dtype, *(type(np.dtype(kind)) for kind in "?bhilqBHILQefd")]
"""What nnU-Net's logging holds besides tensors: numpy numbers. They hold no code."""


def write_checkpoint(content: dict[str, Any], path: Path) -> None:
    """By torch, which turns a full disk into an error of its own where it opens the file itself."""
    try:
        with path.open("wb") as file:
            torch.save(content, file)
    except RuntimeError as error:
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The whole checkpoint, by torch's weights-only loading; tensors on the CPU."""
    if not path.is_file():
        raise InputError(f"{path} is not a file: name a checkpoint of nnU-Net, such as fold_0/checkpoint_final.pth")
    try:
        with torch.serialization.safe_globals(PLAIN):
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        if named is None:
            raise InputError(f"{path} cannot be read as a checkpoint: it is cut off or damaged") from None
        raise InputError(
            f"{path} holds more than weights and plain values ({named[1]}): reading it would execute code from the "
            f"file, which is not done; save it again with weights and plain values only"
        ) from None
    except Exception as error:  # what stands in any other file can trip the unpickler in any way
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path} cannot be read as a checkpoint ({reason}): it is cut off or damaged") from None
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("network_weights"), dict):
        raise InputError(f"{path} must be a checkpoint of nnU-Net, a dict with network_weights")
    if wrong := [key for key, value in checkpoint["network_weights"].items() if not isinstance(value, torch.Tensor)]:
        raise InputError(f"{path}: network_weights/{wrong[0]} must be a tensor: it is no checkpoint of nnU-Net's")
    return checkpoint


def weights_of(checkpoint: dict[str, Any]) -> dict[str, torch.Tensor]:
    """The state dict of the network."""
    weights: dict[str, torch.Tensor] = checkpoint["network_weights"]
    return weights


def required(checkpoint: dict[str, Any], path: Path, *keys: str) -> Any:
    """The value under nested keys, which every checkpoint that nnU-Net wrote has."""
    value: Any = checkpoint
    for key in keys:
        if not isinstance(value, dict) or key not in value:
            raise InputError(f"{path} lacks {'/'.join(keys)}, which nnU-Net v2 writes into each of its checkpoints")
        value = value[key]
    return value


def facts_of(checkpoint: dict[str, Any], path: Path) -> CheckpointFacts:
    """What the checkpoint says beside its weights, checked."""
    said = {key: value for key, value in checkpoint.items() if key in CheckpointFacts.__struct_fields__}
    return converted(said, CheckpointFacts, str(path))


def require_fit(network: nn.Module, weights: dict[str, torch.Tensor], path: Path) -> None:
    """Weights of another network are an InputError that names the first tensor that differs."""
    state = network.state_dict()
    dropped = getattr(network, "dropped", None)
    left_out = set(dropped(weights)) if dropped else set()
    for key in sorted((state.keys() | weights.keys()) - left_out):
        ours, theirs = (tuple(v[key].shape) if key in v else "missing" for v in (weights, state))
        if ours != theirs:
            raise InputError(
                f"{path} does not fit the network of its trainer and plans: {key} is {ours} in the checkpoint, "
                f"{theirs} in the network"
            )
    refuse_other_settings = getattr(network, "refuse_other_settings", None)
    if refuse_other_settings is not None:  # one of ours, whose gates have settings that no tensor's shape tells
        try:
            refuse_other_settings(weights)
        except RuntimeError as error:
            raise InputError(f"{path} does not fit the network of its trainer and plans: {error}") from None
