"""What of plans decides how data are preprocessed; patch, batch and network do not."""

from typing import Any

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
    """Whether a key of plans, or of a configuration, does."""
    return key in SHARED or key in OWN or key.startswith(RESAMPLING)


def data_settings(plans: dict[str, Any], configuration: str) -> dict[str, Any]:
    """All that makes the data of a configuration what they are, but for the name of their folder.

    How probabilities are resampled is left out: that comes after the network.
    """
    own = plans["configurations"].get(configuration, {})
    merged = {**{key: plans.get(key) for key in SHARED}, **own}
    return {
        key: value
        for key, value in merged.items()
        if decides_preprocessing(key) and key != "data_identifier" and "probabilities" not in key
    }
