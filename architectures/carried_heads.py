"""Segmentation layers on their way through nnU-Net's -pretrained_weights, which leaves them out.

nnU-Net copies each tensor of the file but those named ``.seg_layers.``, and hands all to the network's load_state_dict.
A tensor keeps its Python attributes through torch.save and torch.load, so one of the gates' tensors carries the
segmentation layers along, and the gated network finds them there; and the settings of the gates, which are lost else.

No plainer way is left open: nnU-Net drops each key that the network's own state dict lacks, so a key of another name
arrives only if every gated network, trained or not, had it in its state dict; and it calls no method of the trainer and
tells neither the trainer nor the network the file's name, so nothing beside the file or elsewhere in it can be found.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

HEADS = ".seg_layers."
CARRIER = "decoder.gates.0."
ATTRIBUTE = "nnunet_prosma_seg_layers"
SETTINGS = "nnunet_prosma_gate"


def with_heads(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights, of which one also carries those of the segmentation layers."""
    carrier = next(key for key in weights if key.startswith(CARRIER))
    loaded = dict(weights)
    loaded[carrier] = weights[carrier].clone()
    setattr(loaded[carrier], ATTRIBUTE, {key: value for key, value in weights.items() if HEADS in key})
    return loaded


def carried_heads(weights: Mapping[str, object]) -> dict[str, Tensor]:
    """What with_heads gave along; empty for any other weights."""
    for key, value in weights.items():
        if key.startswith(CARRIER) and isinstance(value, Tensor):
            heads = getattr(value, ATTRIBUTE, None)
            if isinstance(heads, dict) and all(isinstance(head, torch.Tensor) for head in heads.values()):
                return heads
    return {}


def carry_settings(weights: Mapping[str, Tensor], settings: Mapping[str, Any], prefix: str = "") -> None:
    """Let one of the weights tell the gates' settings."""
    setattr(weights[next(key for key in weights if key.startswith(prefix + CARRIER))], SETTINGS, dict(settings))


def carried_settings(weights: Mapping[str, object]) -> dict[str, Any] | None:
    """What carry_settings gave along; None for any other weights."""
    found = (getattr(value, SETTINGS, None) for key, value in weights.items() if key.startswith(CARRIER))
    return next((settings for settings in found if isinstance(settings, dict)), None)
