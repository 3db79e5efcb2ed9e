"""What the plans of a bundle may make nnU-Net import: parts of nnU-Net, of torch and of this package, by name.

nnU-Net imports whatever a plans file names (pydoc.locate), and importing or calling a thing executes code. Of one's own
plans that is wanted, of a bundle that somebody sent it is not. Names are compared, nothing is imported to find out.
"""

from collections.abc import Iterator
from typing import Any

from nnunet_prosma.errors import InputError
from nnunet_prosma.host.plans import Setup

_VANILLA = "dynamic_network_architectures.architectures"
_GATED = "nnunet_prosma.architectures"
NETWORKS = {
    *(f"{_VANILLA}.unet.{name}" for name in ("PlainConvUNet", "ResidualEncoderUNet", "ResidualUNet")),
    f"{_VANILLA}.residual_unet.ResidualEncoderUNet",  # its place in plans of nnU-Net 2.0 to 2.2
    *(f"{_GATED}.gated_unet.{name}" for name in ("ProSMAUNet", "ProSMAResEncUNet", "ProSMAResUNet")),
    f"{_GATED}.p_unet.PUNet",
}
_LAYERS = {
    "conv": ("Conv1d", "Conv2d", "Conv3d"),
    "instancenorm": ("InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d"),
    "batchnorm": ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d"),
    "dropout": ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d"),
    "activation": ("LeakyReLU", "ReLU", "PReLU", "ELU", "GELU", "SiLU", "Mish", "Tanh", "Sigmoid", "Softplus"),
}
_BLOCKS = "dynamic_network_architectures.building_blocks.residual"
PARTS = {
    *(f"torch.nn.modules.{module}.{name}" for module, names in _LAYERS.items() for name in names),
    *(f"torch.nn.{name}" for names in _LAYERS.values() for name in names),
    f"{_BLOCKS}.BasicBlockD",
    f"{_BLOCKS}.BottleneckD",
}
"""What arch_kwargs may name: convolutions, normalisations, nonlinearities, dropout, blocks."""
READERS = {
    "SimpleITKIO",
    "SimpleITKIOWithReorient",
    "NibabelIO",
    "NibabelIOWithReorient",
    "NaturalImage2DIO",
    "Tiff3DIO",
}
PREPROCESSORS = {"DefaultPreprocessor"}
RESAMPLINGS = {"resample_data_or_seg_to_shape", "resample_torch_fornnunet", "no_resampling_hack"}
NORMALISATIONS = {
    "ZScoreNormalization",
    "CTNormalization",
    "NoNormalization",
    "RescaleTo01Normalization",
    "RGBTo01Normalization",
}
LABEL_MANAGERS = {"LabelManager", None}


def require_allowed(setup: Setup) -> None:
    """The first name in the plans that is not allowed is an InputError; called before nnU-Net sees them."""
    for where, name, allowed in named(setup):
        if not isinstance(name, (str, type(None))) or name not in allowed:
            raise InputError(
                f"{setup.plans.source}: {where} names {name!r}, and a bundle may only use parts of nnU-Net, torch and "
                f"nnunet-prosma ({', '.join(sorted(str(a) for a in allowed if a))}): it carries no other code"
            )


def named(setup: Setup) -> Iterator[tuple[str, Any, set[Any]]]:
    """(place, name, what may stand there) of everything that nnU-Net finds by its name in order to predict."""
    plans, said, configuration = setup.plans.said, setup.said, f"$.configurations.{setup.configuration}"
    yield "$.image_reader_writer", plans.image_reader_writer, READERS
    yield "$.label_manager", plans.label_manager, LABEL_MANAGERS
    yield f"{configuration}.architecture.network_class_name", setup.network_class, NETWORKS
    for key in said.architecture.requires_import:
        value = said.architecture.arch_kwargs.get(key)
        if value is not None:
            yield f"{configuration}.architecture.arch_kwargs.{key}", value, PARTS
    yield f"{configuration}.preprocessor_name", said.preprocessor_name, PREPROCESSORS
    for kind in ("data", "seg", "probabilities"):
        yield f"{configuration}.resampling_fn_{kind}", getattr(said, f"resampling_fn_{kind}"), RESAMPLINGS
    for index, scheme in enumerate([None] if said.normalization_schemes is None else said.normalization_schemes):
        yield f"{configuration}.normalization_schemes[{index}]", scheme, NORMALISATIONS
