"""From nnU-Net's preprocessed space back into the image's own, by nnU-Net's own way back."""

from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from nnunet_prosma.host.export import into_image
from nnunet_prosma.host.images import write_whole
from nnunet_prosma.host.stand_ins import MapsNotLabels
from nnunet_prosma.inspect.predictor import WatchingPredictor

NATURAL = {".png", ".bmp"}
"""Formats that hold no fractions: a map is written in 256 grey values, 255 for 1."""


def segmentation_in_image(predictor: WatchingPredictor, logits: Tensor, properties: dict[str, Any]) -> np.ndarray:
    return _back(predictor, logits, predictor.label_manager, properties)


def probabilities_in_image(
    predictor: WatchingPredictor, logits: Tensor, properties: dict[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """The segmentation and the probabilities, as nnUNetv2_predict --save_probabilities gives them."""
    segmentation, p = _back(predictor, logits, predictor.label_manager, properties, return_probabilities=True)
    return np.asarray(segmentation), np.asarray(p)


def map_in_image(predictor: WatchingPredictor, values: Tensor, scale: float, properties: dict[str, Any]) -> np.ndarray:
    """(1, *S), scale times what is shown -> an array in the order of the image's axes."""
    _, maps = _back(predictor, values.float().div_(scale), MapsNotLabels(), properties, return_probabilities=True)
    found: np.ndarray = maps[0]
    return found.clip(0, 1, out=found)


def _back(predictor: WatchingPredictor, values: Tensor, labels: Any, properties: Any, **kwargs: Any) -> Any:
    managers = predictor.plans_manager, predictor.configuration_manager
    return into_image(values.numpy(), *managers, labels, properties, **kwargs)


def looked_at(predictor: WatchingPredictor, properties: dict[str, Any]) -> np.ndarray:
    """The place of nnU-Net's box in the image."""
    inside = np.zeros(properties["shape_before_cropping"], dtype=bool)
    inside[tuple(slice(*limits) for limits in properties["bbox_used_for_cropping"])] = True
    return inside.transpose(predictor.plans_manager.transpose_backward)


def write_map(path: Path, values: np.ndarray, properties: dict[str, Any]) -> None:
    """Writes a map in the image's geometry and in fractions, but for NATURAL."""
    ending = "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix
    path.parent.mkdir(parents=True, exist_ok=True)
    if "sitk_stuff" in properties:
        _write_sitk(path, values, properties["sitk_stuff"])
    elif "nibabel_stuff" in properties:
        _write_nibabel(path, values, properties["nibabel_stuff"])
    else:
        plane = values[0] if len(properties["spacing"]) == 3 and properties["spacing"][0] == 999 else values
        if ending in NATURAL:
            from skimage.io import imsave

            imsave(path, np.rint(255 * plane).astype(np.uint8), check_contrast=False)
        else:
            import tifffile

            tifffile.imwrite(path, plane.astype(np.float32), compression="zlib")


def _write_sitk(path: Path, values: np.ndarray, kept: dict[str, Any]) -> None:
    import SimpleITK

    image = SimpleITK.GetImageFromArray((values[0] if len(kept["spacing"]) == 2 else values).astype(np.float32))
    image.SetSpacing(kept["spacing"])
    image.SetOrigin(kept["origin"])
    image.SetDirection(kept["direction"])
    if "original_orientation" in kept:
        image = SimpleITK.DICOMOrient(image, kept["original_orientation"])
    write_whole(lambda name: SimpleITK.WriteImage(image, name, True), path)


def _write_nibabel(path: Path, values: np.ndarray, kept: dict[str, Any]) -> None:
    import nibabel
    from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

    affine = kept.get("reoriented_affine", kept["original_affine"])
    image = nibabel.Nifti1Image(values.transpose(2, 1, 0).astype(np.float32), affine=affine)
    if "reoriented_affine" in kept:
        back = ornt_transform(axcodes2ornt("RAS"), io_orientation(kept["original_affine"]))
        image = image.as_reoriented(back)
    nibabel.save(image, path)
