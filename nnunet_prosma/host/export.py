"""From the network's geometry back into the image's own, and what is removed there, by nnU-Net's own functions."""

from typing import Any

import torch
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
from nnunetv2.postprocessing.remove_connected_components import remove_all_but_largest_component_from_segmentation

__all__ = ["into_image", "remove_all_but_largest_component_from_segmentation"]


def into_image(
    logits: Any, plans: Any, configuration: Any, labels: Any, properties: dict[str, Any], **settings: Any
) -> Any:
    """The segmentation, with return_probabilities the probabilities too. nnU-Net's managers, or what stands for them.

    nnU-Net changes the number of torch's threads on its way; here it stays.
    """
    threads = torch.get_num_threads()
    try:
        return convert_predicted_logits_to_segmentation_with_correct_shape(
            logits, plans, configuration, labels, properties, **settings
        )
    finally:
        torch.set_num_threads(threads)
