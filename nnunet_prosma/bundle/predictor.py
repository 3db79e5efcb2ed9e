"""A bundle's models, and the segmentation that they give for one image: sequentially, in this process alone."""

import contextlib
import io
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.postprocessing.remove_connected_components import apply_postprocessing

from nnunet_prosma.bundle.class_by_class import segmentation_of
from nnunet_prosma.bundle.network import build, read_setup
from nnunet_prosma.bundle.postprocessing import steps
from nnunet_prosma.bundle.smoothing import bundled_smoothing
from nnunet_prosma.bundle.weights import FILE, STOCK, mirroring_axes
from nnunet_prosma.errors import InputError
from nnunet_prosma.host.checkpoints import read_checkpoint, require_fit
from nnunet_prosma.host.probabilities import soft_case
from nnunet_prosma.smooth.case import smoothed


@dataclass(frozen=True)
class How:
    """What is a matter of time and memory rather than of the model."""

    folds: Sequence[str] | None = None
    """None: all that the bundle holds."""
    step_size: float = 0.5
    mirroring: bool = True
    device: str = "cuda"
    on_device: bool = True
    """Whether the logits are gathered on the device too."""
    progress: bool = True


class BundlePredictor:
    def __init__(self, bundle: Path, manifest: dict[str, Any], how: How) -> None:
        self.how = how
        self.members = [self._member(bundle / "models" / model["name"], model) for model in manifest["models"]]
        first = manifest["models"][0]
        self.setup = read_setup(bundle / "models" / first["name"], first["configuration"])
        self.smoothing = bundled_smoothing(bundle, manifest, self.setup)
        self.postprocessing = steps(manifest["postprocessing"])

    def _member(self, folder: Path, model: dict[str, Any]) -> nnUNetPredictor:
        folds = self.how.folds or model["folds"]
        if unknown := [fold for fold in folds if fold not in model["folds"]]:
            raise InputError(
                f"the bundle has no fold {unknown[0]} of {model['name']}; it has {', '.join(model['folds'])}"
            )
        setup = read_setup(folder, model["configuration"])
        paths = [folder / f"fold_{fold}" / FILE for fold in folds]
        checkpoints = [read_checkpoint(path) for path in paths]
        network = build(setup)
        for path, checkpoint in zip(paths, checkpoints, strict=True):
            require_fit(network, checkpoint["network_weights"], path)
        network.load_state_dict(checkpoints[0]["network_weights"])
        axes = mirroring_axes(checkpoints[0], len(setup.patch_size), paths[0])
        with contextlib.redirect_stdout(io.StringIO()):  # it says on each CPU that it is one
            predictor = nnUNetPredictor(
                tile_step_size=self.how.step_size,
                use_mirroring=self.how.mirroring,
                perform_everything_on_device=self.how.on_device,
                device=torch.device(self.how.device),
                allow_tqdm=self.how.progress,
            )
        predictor.manual_initialization(
            network,
            setup.plans.manager,
            setup.manager,
            [checkpoint["network_weights"] for checkpoint in checkpoints],
            setup.dataset.content,
            STOCK,
            axes,
        )
        return predictor

    @property
    def dataset_json(self) -> dict[str, Any]:
        return dict(self.members[0].dataset_json)

    @property
    def file_ending(self) -> str:
        return str(self.dataset_json["file_ending"])

    @property
    def channel_names(self) -> list[str]:
        """The names of the channels in the order of the network's input."""
        names = self.dataset_json.get("channel_names") or self.dataset_json["modality"]
        return [str(names[key]) for key in sorted(names, key=int)]

    def segment(self, image: np.ndarray, properties: dict[str, Any]) -> np.ndarray:
        """Image (channels, z, y, x), as nnU-Net's readers give it with its properties -> labels (z, y, x).

        Smoothing comes first and postprocessing after it, as smooth fit judges them together.
        """
        if len(self.members) == 1 and self.smoothing is None:
            member = self.members[0]
            logits, known = self._logits(member, image, properties)
            segmentation = segmentation_of(
                logits, member.plans_manager, member.configuration_manager, member.label_manager, known
            )
        else:
            average, labels = self._average(image, properties), self.members[0].label_manager
            segmentation = np.asarray(labels.convert_probabilities_to_segmentation(average))
            if self.smoothing is not None:
                segmentation = smoothed(soft_case("", average, segmentation, properties), self.setup, self.smoothing)
        return np.asarray(apply_postprocessing(segmentation, *self.postprocessing))

    def _average(self, image: np.ndarray, properties: dict[str, Any]) -> np.ndarray:
        """The average of the members' probabilities, in float32 as nnU-Net's ensembling takes it."""
        total: Any = None
        for member in self.members:
            logits, known = self._logits(member, image, properties)
            _, probabilities = convert_predicted_logits_to_segmentation_with_correct_shape(
                logits,
                member.plans_manager,
                member.configuration_manager,
                member.label_manager,
                known,
                return_probabilities=True,
            )
            total = probabilities.astype(np.float32, copy=False) if total is None else total.__iadd__(probabilities)
        total /= len(self.members)
        return np.asarray(total)

    @staticmethod
    def _logits(member: nnUNetPredictor, image: np.ndarray, properties: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """The average over folds, in the network's geometry, and what nnU-Net needs to lead it back."""
        preprocessor = member.configuration_manager.preprocessor_class(verbose=False)
        data, _, known = preprocessor.run_case_npy(
            image, None, deepcopy(properties), member.plans_manager, member.configuration_manager, member.dataset_json
        )
        return member.predict_logits_from_preprocessed_data(torch.from_numpy(data)).cpu(), known
