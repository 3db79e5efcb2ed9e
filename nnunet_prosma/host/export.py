"""From the network's geometry back into the image's own, by nnU-Net's own function."""

from typing import Any

import torch
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape


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
