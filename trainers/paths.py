"""At the start of a training on a GPU: each gate's path is decided, and the log says how."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from nnunet_prosma.decoder import GatedDecoder, gates_of
from nnunet_prosma.fast.gpu import choose_paths


def choose_paths_for(trainer: Any, **settings: Any) -> None:
    """Chooses the paths of an nnU-Net trainer that has built its network; settings as choose_paths takes them."""
    network, configuration = trainer.network, trainer.configuration_manager
    cases = gate_shapes(network, trainer.batch_size, configuration.patch_size)
    settings = {"compiled": trainer._do_i_compile(), **settings}
    for line in choose_paths(cases, trainer.device, **settings):
        trainer.print_to_log_file(line, add_timestamp=False)


def gate_shapes(network: nn.Module, batch: int, patch: Sequence[int]) -> dict[str, tuple[nn.Module, tuple[int, ...]]]:
    """Each gate by its name, with the shape of its skip (B, Cx, *S)."""
    decoder = next(m for m in network.modules() if isinstance(m, GatedDecoder))
    sizes, channels = decoder.skip_sizes(patch), decoder.encoder.output_channels
    shapes: dict[str, tuple[nn.Module, tuple[int, ...]]] = {}
    for name, gate in gates_of(network):
        at = -(int(name.rpartition(".")[-1]) + 2)
        shapes[name] = (gate, (batch, channels[at], *sizes[at]))
    return shapes
