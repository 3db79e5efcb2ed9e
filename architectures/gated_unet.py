"""The U-Nets of dynamic_network_architectures with a gate on each skip.

Each takes what its vanilla class takes and one keyword more, ``gate``. State-dict keys of the vanilla network stay as
they are; the gates add ``decoder.gates.N.*``.
"""

from collections.abc import Mapping
from typing import Any

from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet, ResidualUNet
from torch import Tensor, nn

from nnunet_prosma.architectures.carried_heads import carried_heads, carried_settings, carry_settings
from nnunet_prosma.decoder import GatedDecoder, told_settings
from nnunet_prosma.gate import GateConfig, start_gate


class GatedNetwork(nn.Module):
    """A network of ours, whatever its gates are, none included."""

    encoder: Any
    decoder: GatedDecoder
    untold: GateConfig | None = None
    """The settings of weights that do not tell theirs, where these are known; None: they are taken to be the
    network's own."""

    def encode(self, image: Tensor) -> list[Tensor]:
        """What the decoder is given: the skips, the finest first, and last what comes from below."""
        skips: list[Tensor] = self.encoder(image)
        return skips

    def dropped(self, weights: Mapping[str, Any]) -> list[str]:
        """Tensors of a checkpoint that this network leaves out when it is loaded."""
        return []

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Loads as torch does, but a checkpoint of other gates, or of none, is refused with a sentence that says so."""
        if strict:
            self._refuse_other_gates(state_dict)
        self.refuse_other_settings(state_dict)
        return super().load_state_dict(self._with_carried_heads(state_dict), strict, assign)

    def state_dict(self, *given: Any, prefix: str = "", keep_vars: bool = False, **named: Any) -> Any:
        """As torch's. One of the gates' tensors tells their settings too: what torch keeps beside the tensors is lost
        where a state dict is rebuilt key by key, as nnU-Net's trainer does when it loads one."""
        state = super().state_dict(*given, prefix=prefix, keep_vars=keep_vars, **named)
        if not keep_vars and self.decoder.gated():
            carry_settings(state, self.decoder.config.to_dict(), prefix)
        return state

    def _with_carried_heads(self, state_dict: Mapping[str, Any]) -> Mapping[str, Any]:
        """The state dict with the segmentation layers of a warm start, if it carries some that fit; it says so, as
        nnU-Net does."""
        heads = carried_heads(state_dict)
        if not heads:
            return state_dict
        own = {key: value.shape for key, value in self.state_dict().items() if key in heads}
        if own != {key: value.shape for key, value in heads.items()}:
            print("Segmentation layers are new: those of the warm start are for another number of classes")
            return state_dict
        print("Segmentation layers are those of the warm start")
        return {**state_dict, **heads}

    def _refuse_other_gates(self, state_dict: Mapping[str, Any]) -> None:
        held = {key for key in state_dict if key.startswith("decoder.gates.")}
        wanted = {key for key in self.state_dict() if key.startswith("decoder.gates.")}
        if wanted and not held:
            raise RuntimeError(
                f"a {type(self).__name__} needs a checkpoint with gates (decoder.gates.*), but this one has none: "
                f"it was trained without gates; use the trainer and plans that it was trained with"
            )
        if held != wanted:
            differing = ", ".join(sorted(held ^ wanted)[:3])
            raise RuntimeError(
                f"the gates of the checkpoint are not those of this network (they differ in {differing}, ...): use the "
                f"trainer and plans that it was trained with, with the same gate settings"
            )

    def refuse_other_settings(self, state_dict: Mapping[str, Any]) -> None:
        """Some settings change what a gate computes, but none of its tensors' names or shapes."""
        try:
            carried = carried_settings(state_dict)  # by a warm start
            theirs = GateConfig.of(carried) if carried else told_settings(state_dict) or self.untold
        except ValueError as error:
            raise RuntimeError(f"the checkpoint's gates are of another version of nnunet-prosma: {error}") from None
        if theirs and (differing := theirs.differences(self.decoder.config)):
            raise RuntimeError(
                f"the gates of the checkpoint were trained with other settings than this network has "
                f"({', '.join(differing)}): use the trainer and plans that it was trained with"
            )


class GatedUNet(GatedNetwork):
    """What the gated twins share; stands before the vanilla class among a twin's bases."""

    def __init__(self, *args: Any, gate: GateConfig | Mapping[str, Any] | str | None = None, **kwargs: Any) -> None:
        config = GateConfig.of(gate)
        super().__init__(*args, **kwargs)
        self.decoder = GatedDecoder(self.decoder, config)

    @classmethod
    def initialize(cls, module: nn.Module) -> None:
        """Initialises a module as the vanilla class does; for network.apply, which comes to a gate after its layers."""
        super().initialize(module)  # type: ignore[misc]
        start_gate(module)


class ProSMAUNet(GatedUNet, PlainConvUNet):
    """PlainConvUNet with a gate on each skip."""


class ProSMAResEncUNet(GatedUNet, ResidualEncoderUNet):
    """ResidualEncoderUNet with a gate on each skip."""


class ProSMAResUNet(GatedUNet, ResidualUNet):
    """ResidualUNet, residual also in the decoder, with a gate on each skip."""
