"""Which gated network stands for which of nnU-Net's."""

import pydoc

from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet, ResidualUNet

from nnunet_prosma.architectures.gated_unet import (
    GatedNetwork,
    GatedUNet,
    ProSMAResEncUNet,
    ProSMAResUNet,
    ProSMAUNet,
)

_TWINS: dict[type, type[GatedUNet]] = {
    PlainConvUNet: ProSMAUNet,
    ResidualEncoderUNet: ProSMAResEncUNet,
    ResidualUNet: ProSMAResUNet,
}


def gated_twin(network_class_name: str) -> type[GatedNetwork]:
    """The gated class for the class that a plans file names; a gated class, P-UNET too, is its own."""
    named = pydoc.locate(network_class_name)
    if named is None:  # plans of older nnU-Nets name modules that have moved; nnU-Net then goes by the last part
        named = next((v for v in _TWINS if v.__name__ == network_class_name.rpartition(".")[-1]), None)
    if isinstance(named, type) and issubclass(named, GatedNetwork):
        return named
    if named in _TWINS:
        return _TWINS[named]
    raise ValueError(
        f"no gates can be set on the network {network_class_name!r}: gates sit on the skips of "
        f"{', '.join(v.__name__ for v in _TWINS)}; use plans that name one of these, or a trainer without gates"
    )


def vanilla_twin(gated: type[GatedNetwork]) -> type:
    """The inverse: nnU-Net's own class."""
    for vanilla, twin in _TWINS.items():
        if twin is gated:
            return vanilla
    raise ValueError(
        f"{gated.__name__} is no gated twin of a network of nnU-Net's: there is no vanilla one to hold it to"
    )
