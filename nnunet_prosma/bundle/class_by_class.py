"""From logits to a segmentation with one class at a time at the image's own size.

nnU-Net resamples the logits of all classes to the image's size before it takes the largest: with many classes that is
what fills the memory. Resampling treats each class for itself, so the same segmentation comes out of a running maximum.
The rest is nnU-Net's own function, with stand-ins for the two objects that it asks to resample and to decide.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from nnunet_prosma.host.export import into_image
from nnunet_prosma.host.stand_ins import OneClassAtATime, Unresampled

if TYPE_CHECKING:
    from nnunetv2.utilities.label_handling.label_handling import LabelManager
    from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager


def segmentation_of(
    logits: Any,
    plans: "PlansManager",
    configuration: "ConfigurationManager",
    labels: "LabelManager",
    properties: dict[str, Any],
) -> np.ndarray:
    """Logits (classes, *size of the network's image) -> labels (*size of the original image)."""
    segmentation: np.ndarray = into_image(
        logits, plans, Unresampled(configuration), OneClassAtATime(labels, configuration), properties
    )
    return segmentation
