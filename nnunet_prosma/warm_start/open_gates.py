"""Gates that change nothing at the start, and learn from there.

A gate puts out x * c * psi, two sigmoids of which neither can be 1 with a gradient. So both start at OPEN, everywhere
and for every channel, and the one convolution behind the gate (two in a residual decoder: its first and its projection)
has the weights that the skip meets divided by c * psi. The network then computes what it did without gates, to
rounding, and the gates have OPEN * (1 - OPEN) = 0.09 of slope, where a sigmoid has 0.25 at most.

A residual gate changes nothing at its start as it is, and no weight is divided.

With ``keep_weights`` no weight is touched, and the gates are opened to 1 - SLIT instead. That is right to twice SLIT
of each skip, but leaves the gates a slope of SLIT: they hardly learn.
"""

from collections.abc import Iterator

import torch
from torch import nn

from nnunet_prosma.decoder import GatedDecoder
from nnunet_prosma.gate import OPEN, AttentionGate, ProSMAGate

SLIT = 1e-4


def open_gates(decoder: GatedDecoder, *, keep_weights: bool) -> list[nn.Module]:
    """Open each gate, in place; the convolutions whose weights were divided, the coarsest stage's first."""
    openness = 1 - SLIT if keep_weights else OPEN
    divided: list[nn.Module] = []
    with torch.no_grad():
        for s in decoder.gated():
            gate = decoder.gates[s]
            assert isinstance(gate, (ProSMAGate, AttentionGate))
            if decoder.config.residual:  # alpha is zero: the gate lets all through as it is
                continue
            passed = openness ** open_gate(gate, openness)
            skip_channels = decoder.encoder.output_channels[-(s + 2)]
            for convolution in [] if keep_weights else behind(decoder.stages[s], skip_channels):
                convolution.weight[:, -skip_channels:] /= passed  # the signal comes first, the skip behind it
                divided.append(convolution)
    return divided


def open_gate(gate: ProSMAGate | AttentionGate, openness: float) -> int:
    """Open it; how many factors, of psi and c, are now at that openness."""
    if gate.config.removal == "hard":
        raise ValueError('gates with removal="hard" remove voxels from the first step on and cannot start open')
    return gate.open(openness)


def behind(stage: nn.Module, skip_channels: int) -> Iterator[nn.Conv2d | nn.Conv3d]:
    """The convolutions of a decoder's stage that read the concatenation: only they have twice the skip's channels."""
    for module in stage.modules():
        if isinstance(module, (nn.Conv2d, nn.Conv3d)) and module.in_channels == 2 * skip_channels:
            yield module
