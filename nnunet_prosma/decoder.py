"""A U-Net decoder whose skips pass a gate, made from the decoder that nnU-Net's architectures build."""

from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import Any

from dynamic_network_architectures.building_blocks.unet_decoder import UNetDecoder
from dynamic_network_architectures.building_blocks.unet_residual_decoder import UNetResDecoder
from torch import Tensor, nn

from nnunet_prosma.fast.concatenation import chosen_paths, gated_concatenation
from nnunet_prosma.gate import AttentionGate, ConvOp, GateConfig, NoGate, ProSMAGate, build_gate

SETTINGS = "gate"
"""The name under which a state dict's metadata of the decoder hold the settings of its gates."""
Watcher = Callable[[int, Tensor, Tensor], None]


class GatedDecoder(nn.Module):
    """The parts of a vanilla decoder, plain or residual, under their own names, and a gate before each concatenation.

    Stage s works at the resolution of skip -(s + 2): s = 0 is the coarsest, as in the vanilla decoder.
    """

    stages: nn.ModuleList
    transpconvs: nn.ModuleList
    seg_layers: nn.ModuleList

    def __init__(self, decoder: UNetDecoder | UNetResDecoder, config: GateConfig) -> None:
        super().__init__()
        encoder = decoder.encoder
        self.config = config
        self.deep_supervision = decoder.deep_supervision
        self.num_classes = decoder.num_classes
        self.encoder = encoder
        self.stages = decoder.stages
        self.transpconvs = decoder.transpconvs
        self.seg_layers = decoder.seg_layers
        # nnU-Net's transposed convolutions put out as many channels as the skip has
        self.gates = build_gates(encoder.conv_op, encoder.output_channels, encoder.kernel_sizes, config)

    def forward(self, skips: Sequence[Tensor]) -> Tensor | list[Tensor]:
        """Skips from the finest to the bottleneck -> logits, or with deep supervision a list of them, finest first."""
        return self.decode(skips)

    def decode(self, skips: Sequence[Tensor], watcher: Watcher | None = None) -> Tensor | list[Tensor]:
        """The forward pass; watcher(s, skip, signal) is meanwhile given what gate s is given, and changes nothing."""
        x: Tensor = skips[-1]
        gates: Any = self.gates
        outputs = []
        for s in range(len(self.stages)):
            skip, signal = skips[-(s + 2)], self.transpconvs[s](x)
            if watcher is not None and s in self.gated():
                watcher(s, skip, signal)
            x = self.stages[s](gated_concatenation(gates[s], skip, signal))
            head = self.head(s)
            if head is not None and (self.deep_supervision or s == len(self.stages) - 1):
                outputs.append(head(x))
        return outputs[::-1] if self.deep_supervision else outputs[0]

    def head(self, s: int) -> nn.Module | None:
        """The segmentation layer of stage s, None if it has none."""
        return self.seg_layers[s]

    def gated(self) -> list[int]:
        """The numbers of the stages whose skip has a gate."""
        return list(range(self.config.gates(len(self.gates))))

    def compute_conv_feature_map_size(self, input_size: Sequence[int]) -> int:
        """The vanilla decoder's count, by which nnU-Net's planner judges memory, and what the gates make autograd keep.

        That is one latent field of each in a compiled network, else next to nothing. An element that nnU-Net counts
        stands for two that are kept, a convolution's and its normalisation's; one of a latent field is kept alone, and
        counts half.
        """
        return UNetDecoder.compute_conv_feature_map_size(self, input_size) + self.kept_by_gates(input_size)

    def kept_by_gates(self, input_size: Sequence[int]) -> int:
        """What the gates make autograd keep, in elements as nnU-Net counts them."""
        if not self.config.spatial:
            return 0
        channels, sizes = self.encoder.output_channels[-2::-1], self.skip_sizes(input_size)[-2::-1]
        return sum(self.config.latent_channels(channels[s]) * prod(sizes[s]) for s in self.gated()) // 2

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        """The settings go along, in what torch keeps of each module beside its tensors."""
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if hasattr(destination, "_metadata"):
            destination._metadata[prefix[:-1]][SETTINGS] = self.config.to_dict()

    def gate_stride(self, s: int) -> tuple[int, ...]:
        """Voxels of the image, along each axis, that a voxel of gate s stands for."""
        return tuple(prod(axis) for axis in zip(*self.encoder.strides[: -(s + 1)], strict=True))

    def skip_sizes(self, input_size: Sequence[int]) -> list[tuple[int, ...]]:
        """Size of each skip, the finest first, the bottleneck last, for an input of this size."""
        sizes: list[tuple[int, ...]] = []
        for strides in self.encoder.strides:
            size = sizes[-1] if sizes else input_size
            sizes.append(tuple(i // j for i, j in zip(size, strides, strict=True)))
        return sizes


def build_gates(
    conv_op: ConvOp, channels: Sequence[int], kernel_sizes: Sequence[int | Sequence[int]], config: GateConfig
) -> nn.ModuleList:
    """One for each skip, from the coarsest to the finest, of which the finest may be none; channels are the levels'."""
    skips = list(zip(channels, kernel_sizes, strict=True))[-2::-1]
    gated, plain = config.gates(len(skips)), GateConfig(kind="none")
    return nn.ModuleList(
        build_gate(conv_op, width, width, kernel_size, config if s < gated else plain)
        for s, (width, kernel_size) in enumerate(skips)
    )


def gates_of(network: nn.Module) -> Iterator[tuple[str, ProSMAGate | AttentionGate]]:
    """Every gate of a network with its name, also through torch.compile's and DistributedDataParallel's wrappers."""
    for name, module in network.named_modules():
        if isinstance(module, (ProSMAGate, AttentionGate)):
            yield name.replace("_orig_mod.", "").removeprefix("module."), module


def describe_gates(network: nn.Module) -> str:
    """The gates of a network, for a log: their settings, and stage by stage what they add."""
    decoder = next(m for m in network.modules() if isinstance(m, GatedDecoder))
    config, gated = decoder.config, decoder.gated()
    if not gated:
        return f"No gates: the {len(decoder.stages)} skips are plain"
    share = "" if len(gated) == len(decoder.stages) else f" of {len(decoder.stages)}"
    lines = [f"Gates on {len(gated)}{share} skips, {config}"]
    for s, gate in enumerate(decoder.gates):
        stride = "x".join(map(str, decoder.gate_stride(s)))
        channels = decoder.encoder.output_channels[-(s + 2)]
        latent = f"{config.latent_channels(channels)} latent, " if config.spatial else ""
        size = "none" if isinstance(gate, NoGate) else f"{latent}{_count(gate):,} parameters"
        lines.append(f"  gates.{s}: stride {stride}, {channels} channels, {size}")
    device = next(network.parameters()).device
    lines.append(f"  computed on {device.type} by the path: {chosen_paths(dict(gates_of(network)), device)}")
    added, total = _count(decoder.gates), _count(network)
    lines.append(f"  added: {added:,} parameters, {added / (total - added):.2%} of the vanilla network's")
    return "\n".join(lines)


def told_settings(state_dict: Any) -> GateConfig | None:
    """The gates' settings that a network's state dict holds; None for one of version 0.1, or one rebuilt by hand."""
    metadata = getattr(state_dict, "_metadata", None) or {}
    told = metadata.get("decoder", {}).get(SETTINGS)
    return None if told is None else GateConfig.of(told)


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
