"""From logits to a segmentation with one class at a time at the image's own size.

nnU-Net resamples the logits of all classes to the image's size before it takes the largest: with many classes that is
what fills the memory. Resampling treats each class for itself, so the same segmentation comes out of a running maximum.
The rest is nnU-Net's own function, with stand-ins for the two objects that it asks to resample and to decide.
"""

from typing import Any

import numpy as np
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
from nnunetv2.utilities.label_handling.label_handling import LabelManager
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager


def segmentation_of(
    logits: Any,
    plans: PlansManager,
    configuration: ConfigurationManager,
    labels: LabelManager,
    properties: dict[str, Any],
) -> np.ndarray:
    """Logits (classes, *size of the network's image) -> labels (*size of the original image)."""
    segmentation: np.ndarray = convert_predicted_logits_to_segmentation_with_correct_shape(
        logits, plans, _Later(configuration), _OneClassAtATime(labels, configuration), properties
    )
    return segmentation


class _Later:
    """A configuration that does not resample yet, but remembers to what."""

    def __init__(self, configuration: ConfigurationManager) -> None:
        self.spacing = configuration.spacing

    def resampling_fn_probabilities(self, logits: Any, *to: Any) -> tuple[Any, tuple[Any, ...]]:
        return logits, to


class _OneClassAtATime:
    """A label manager that decides while it resamples."""

    def __init__(self, labels: LabelManager, configuration: ConfigurationManager) -> None:
        self.labels = labels
        self.foreground_labels = labels.foreground_labels
        self.resample = configuration.resampling_fn_probabilities

    def convert_logits_to_segmentation(self, later: tuple[Any, tuple[Any, ...]]) -> np.ndarray:
        logits, to = later
        size = tuple(int(n) for n in to[0])
        segmentation = np.zeros(size, np.uint16)
        if self.labels.has_regions:
            for index, label in enumerate(self.labels.regions_class_order):
                probability = self.labels.apply_inference_nonlin(self.resample(logits[index : index + 1], *to))
                segmentation[np.asarray(probability)[0] > 0.5] = label
            return segmentation
        largest = np.array(self.resample(logits[:1], *to)[0])
        for label in range(1, len(logits)):
            other = np.asarray(self.resample(logits[label : label + 1], *to)[0])
            larger = other > largest  # of equal ones the first, as argmax has it
            segmentation[larger] = label
            largest[larger] = other[larger]
        return segmentation
