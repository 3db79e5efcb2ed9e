"""Everything that stands where nnU-Net expects an object of its own: what to look at when a new nnU-Net comes.

- MapsNotLabels, for the LabelManager of convert_predicted_logits_to_segmentation_with_correct_shape (inference/
  export_prediction.py): inspect brings maps back into the image's geometry as nnU-Net brings probabilities back.
- Unresampled, for the ConfigurationManager of the same function, and OneClassAtATime, for its LabelManager: predict
  resamples one class at a time.
- MoreHeads, for the LabelManager of nnUNetPredictor while it slides its window (predict_sliding_window_return_logits):
  inspect's network gives maps behind the logits.
- TrainerThatSplits, for the nnUNetTrainer of nnUNetTrainer.do_split (training/nnUNetTrainer/nnUNetTrainer.py): study
  writes splits_final.json before trainings race on it.
- FromPlans, for the nnUNetTrainer class whose build_network_architecture makes a network: a bundle has no trainer.

Classes of ours that nnU-Net builds or calls as its own inherit from nnU-Net's, and stand elsewhere: trainers and
networks (trainers/, architectures/), planners (plan/planner.py), inspect's predictor (inspect/predictor.py) and the
trainer without folders and log (host/silent_trainer.py).
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from nnunetv2.utilities.label_handling.label_handling import LabelManager
    from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager


class MapsNotLabels:
    """A label manager under which probabilities stay as they are when they are brought back: maps, between 0 and 1.

    Outside of the box to which nnU-Net cropped the image, where no window looked, a map is zero.
    """

    foreground_labels = (1,)

    def apply_inference_nonlin(self, maps: Any) -> Tensor:
        return torch.as_tensor(np.asarray(maps, dtype=np.float32))

    def convert_probabilities_to_segmentation(self, maps: Tensor) -> Tensor:
        return torch.zeros(maps.shape[1:], dtype=torch.uint8)  # nobody asks for it

    def revert_cropping_on_probabilities(self, maps: Tensor, box: Any, shape: Any) -> Tensor:
        from acvl_utils.cropping_and_padding.bounding_boxes import insert_crop_into_image

        whole: Tensor = insert_crop_into_image(torch.zeros((len(maps), *shape)), maps, box)
        return whole


class Unresampled:
    """A configuration that does not resample yet, but remembers to what."""

    def __init__(self, configuration: "ConfigurationManager") -> None:
        self.spacing = configuration.spacing

    def resampling_fn_probabilities(self, logits: Any, *to: Any) -> tuple[Any, tuple[Any, ...]]:
        return logits, to


class OneClassAtATime:
    """A label manager that decides while it resamples what Unresampled put off."""

    def __init__(self, labels: "LabelManager", configuration: "ConfigurationManager") -> None:
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


class MoreHeads:
    """A label manager of which only the number of the network's outputs is asked."""

    def __init__(self, number: int) -> None:
        self.num_segmentation_heads = number


class TrainerThatSplits:
    """A trainer that only splits its data into folds."""

    fold = 0
    folder_with_segs_from_previous_stage = None

    def __init__(self, dataset_class: Any, data: str, splits: str) -> None:
        """data: the folder of the preprocessed data; splits: the folder that splits_final.json is to be in."""
        self.dataset_class = dataset_class
        self.preprocessed_dataset_folder = data
        self.preprocessed_dataset_folder_base = splits

    def print_to_log_file(self, *words: Any) -> None:
        pass


class FromPlans:
    """Builds as nnU-Net's own trainer does, but draws no weights, since those of a training follow."""

    @staticmethod
    def build_network_architecture(
        plans: "PlansManager", configuration: "ConfigurationManager", channels: int, heads: int, deep_supervision: bool
    ) -> "nn.Module":
        from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

        network: nn.Module = get_network_from_plans(
            configuration.network_arch_class_name,
            configuration.network_arch_init_kwargs,
            configuration.network_arch_init_kwargs_req_import,
            channels,
            heads,
            allow_init=False,
            deep_supervision=deep_supervision,
        )
        return network
