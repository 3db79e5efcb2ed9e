"""Plans by nnU-Net's own planner for images that are not there: their size and spacing are all that it needs."""

import contextlib
import io
import json
import os
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nnunet_prosma.host.plans import Plans
from nnunet_prosma.host.silent_trainer import environment

NAME = "Dataset000_Preset"


def plans_for_images(
    planner: str, *, spacing_mm: Sequence[float], size: Sequence[int], images: int, described: Mapping[str, Any]
) -> Plans:
    """What nnU-Net plans for a data set of so many images, all alike, in 2D or 3D. described: its dataset.json.

    planner is the name of a class of nnU-Net's. The number of images limits the batch: it holds at most 5 % of them.
    """
    import nnunetv2
    import torch
    from nnunetv2.utilities.find_class_by_name import recursive_find_python_class

    folder = os.path.join(nnunetv2.__path__[0], "experiment_planning")
    found: Any = recursive_find_python_class(folder, planner, "nnunetv2.experiment_planning")
    flat = len(size) == 2  # to nnU-Net a 2D image is a 3D one of a single slice
    fingerprint = {
        "spacings": [[999.0, *spacing_mm] if flat else list(spacing_mm)],
        "shapes_after_crop": [[1, *size] if flat else list(size)],
        "foreground_intensity_properties_per_channel": {},
        "median_relative_size_after_cropping": 1.0,
    }
    listed = {"image": {"images": ["image.nii.gz"], "label": "label.nii.gz"}}  # named, never opened
    dataset = {**described, "numTraining": images, "dataset": listed, "overwrite_image_reader_writer": "SimpleITKIO"}
    with tempfile.TemporaryDirectory() as place, contextlib.ExitStack() as stack:
        raw, preprocessed = (Path(place) / kind for kind in ("raw", "preprocessed"))
        for parent in (raw, preprocessed):
            (parent / NAME).mkdir(parents=True)
        (raw / NAME / "dataset.json").write_text(json.dumps(dataset))
        (preprocessed / NAME / "dataset_fingerprint.json").write_text(json.dumps(fingerprint))
        stack.enter_context(environment(nnUNet_raw=str(raw), nnUNet_preprocessed=str(preprocessed)))
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        stack.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", "WARNING: You are running nnUNetPlanner", UserWarning)
        stack.enter_context(torch.device("meta"))  # networks are counted, not run
        planned = found(NAME)
        planned.plan_experiment()
        return Plans.read(preprocessed / NAME / f"{planned.plans_identifier}.json")
