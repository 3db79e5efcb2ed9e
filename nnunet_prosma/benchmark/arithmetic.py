"""Parameters and floating-point operations, and each gate's part in them."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nnunet_prosma.decoder import gates_of


def parameter_count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def flops(module: nn.Module, *shapes: Sequence[int]) -> int:
    """torch's count for a forward pass on inputs of these shapes: two for each multiplication with an addition.

    On the meta device, so without arithmetic; elementwise operations and norms do not count.
    """
    on_meta = deepcopy(module).to("meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        on_meta(*(torch.empty(*shape, device="meta") for shape in shapes))
    return counter.get_total_flops()


def decoder_stages(network: nn.Module, batch: int, patch: Sequence[int]) -> list[dict[str, Any]]:
    """What each gate has, from the coarsest stage to the finest: size, channels, parameters and operations."""
    stages = []
    decoder: Any = network.decoder
    sizes = decoder.skip_sizes(patch)
    for s, (_, gate) in enumerate(gates_of(network)):
        channels, size = decoder.encoder.output_channels[-(s + 2)], sizes[-(s + 2)]
        shape = (batch, channels, *size)
        stages.append(
            {
                "size": list(size),
                "channels": channels,
                "parameters": parameter_count(gate),
                "flops": flops(gate, shape, shape),
            }
        )
    return stages
