"""The weights of a network without gates, in the gated network that is to be trained."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from nnunet_prosma.architectures.carried_heads import HEADS
from nnunet_prosma.architectures.gated_unet import GatedNetwork
from nnunet_prosma.errors import InputError
from nnunet_prosma.warm_start.open_gates import open_gates

GATES = "decoder.gates."


@dataclass
class Transfer:
    """What became of each tensor of the gated network, by its key."""

    copied: list[str] = field(default_factory=list)
    divided: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)
    logits_differ_by: float | None = None
    """Largest difference to the network without gates, as a share of its largest logit; None where both cannot be."""


def transfer(
    network: GatedNetwork,
    weights: Mapping[str, Tensor],
    *,
    keep_weights: bool,
    same_heads: bool,
    first_layer: str | None,
) -> Transfer:
    """Fill the network in place. first_layer: the weight that other input channels make new, None if they are equal."""
    if any(key.startswith(GATES) for key in weights):
        raise InputError(
            "the checkpoint has gates already: give it to nnUNetv2_train -pretrained_weights as it is, with the "
            "trainer and plans of its training"
        )
    state = network.state_dict()
    new_first = _aliases(network, first_layer)
    known = {key for key in state if not key.startswith(GATES)}
    if surplus := sorted(weights.keys() - known):
        raise InputError(f"the checkpoint's {surplus[0]} has no place in a {type(network).__name__} of its plans")
    done = Transfer()
    for key in state:
        if key.startswith(GATES) or key in new_first or (HEADS in key and not same_heads):
            done.new.append(key)
        elif key not in weights or weights[key].shape != state[key].shape:
            held = tuple(weights[key].shape) if key in weights else "missing"
            raise InputError(
                f"the checkpoint's {key} is {held}, and the training's network needs {tuple(state[key].shape)}"
            )
        else:
            state[key] = weights[key]
            done.copied.append(key)
    network.load_state_dict(state)
    try:
        divided = open_gates(network.decoder, keep_weights=keep_weights)
    except ValueError as error:
        raise InputError(str(error)) from None
    pointers = {module.weight.data_ptr() for module in divided if isinstance(module.weight, Tensor)}
    done.divided = [key for key, value in network.state_dict().items() if value.data_ptr() in pointers]
    done.copied = [key for key in done.copied if key not in done.divided]
    return done


def _aliases(network: nn.Module, key: str | None) -> set[str]:
    """All keys of one tensor: nnU-Net's modules hold some of their layers under two names."""
    if key is None:
        return set()
    state = network.state_dict()
    return {other for other, value in state.items() if value.data_ptr() == state[key].data_ptr()}


def largest_difference(vanilla: nn.Module, gated: nn.Module, channels: int, size: list[int]) -> float:
    """The largest difference of the logits for noise, over all outputs, as a share of the vanilla network's largest."""
    image = torch.randn(1, channels, *size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours: Any = gated.eval()(image)
        theirs: Any = vanilla.eval()(image)
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(ours, theirs, strict=True))
