"""What of plans decides how data are preprocessed; patch, batch and network do not."""

import os
from typing import Any

from nnunet_prosma.errors import InputError
from nnunet_prosma.host.plans import resolved

SHARED = (
    "transpose_forward",
    "transpose_backward",
    "image_reader_writer",
    "foreground_intensity_properties_per_channel",
)
"""What the plans say for all configurations."""
OWN = (
    "data_identifier",
    "preprocessor_name",
    "spacing",
    "normalization_schemes",
    "use_mask_for_norm",
)
"""What each configuration says, beside all that begins with resampling_fn."""
RESAMPLING = "resampling_fn"


def decides_preprocessing(key: str) -> bool:
    """Whether a key of plans, or of a configuration, decides what preprocessing makes."""
    return key in SHARED or key in OWN or key.startswith(RESAMPLING)


def data_settings(plans: dict[str, Any], configuration: str) -> dict[str, Any]:
    """All that makes the data of a configuration what they are, inherited or its own, but for the name of their folder.

    How probabilities are resampled is left out: that comes after the network.
    """
    known = plans["configurations"]
    own = resolved(known, configuration) if configuration in known else {}
    merged = {**{key: plans.get(key) for key in SHARED}, **own}
    return {
        key: value
        for key, value in merged.items()
        if decides_preprocessing(key) and key != "data_identifier" and "probabilities" not in key
    }


def require_preprocessor(name: str) -> None:
    """A class that nnU-Net does not find among its preprocessors is an InputError."""
    import nnunetv2
    from nnunetv2.utilities.find_class_by_name import recursive_find_python_class

    folder = os.path.join(nnunetv2.__path__[0], "preprocessing")
    if not name.isidentifier() or recursive_find_python_class(folder, name, "nnunetv2.preprocessing") is None:
        raise InputError(f"nnU-Net has no preprocessor {name!r}: its own is DefaultPreprocessor")
