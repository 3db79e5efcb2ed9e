"""One case, from its image to its maps, its figure and its numbers."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from nnunet_prosma.errors import InputError
from nnunet_prosma.files import write_bytes
from nnunet_prosma.host import images
from nnunet_prosma.host.directions import directions
from nnunet_prosma.host.labels import parts_of
from nnunet_prosma.host.plans import Setup
from nnunet_prosma.host.probabilities import has_regions, soft_case
from nnunet_prosma.host.segmentations import check_geometry
from nnunet_prosma.inspect import geometry
from nnunet_prosma.inspect.figure import render
from nnunet_prosma.inspect.measure import GateRow, gate_row, psi_means, regions
from nnunet_prosma.inspect.model import ImageCase
from nnunet_prosma.inspect.predictor import WatchingPredictor, decoder_of
from nnunet_prosma.inspect.slices import View, choose
from nnunet_prosma.inspect.smoothed import Smoothed, about, render_smoothed
from nnunet_prosma.inspect.viewers import write_for_slicer
from nnunet_prosma.report.shade import in_colour, shaded
from nnunet_prosma.smooth.case import smoothed
from nnunet_prosma.smooth.settings import Smoothing
from nnunet_prosma.watch.observe import bare


def inspect_case(
    predictor: WatchingPredictor,
    case: ImageCase,
    folds: list[str],
    folder: Path,
    outlines: bool = False,
    smoothing: Smoothing | None = None,
) -> tuple[list[GateRow], dict[str, Any]]:
    """The rows of its gates, and the names of its files in the folder."""
    try:
        data, properties = preprocess(predictor, case)
        seen = predictor.watch(data)
        if smoothing is None:
            segmentation, after = geometry.segmentation_in_image(predictor, seen.logits, properties), None
        else:
            segmentation, p = geometry.probabilities_in_image(predictor, seen.logits, properties)
            after = smoothed(soft_case(case.name, p, segmentation, properties), predictor.setup, smoothing)
    except (InputError, OSError, MemoryError):
        raise
    except Exception as error:  # what nnU-Net and torch make of plans that fit neither the network nor the image
        about = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"nnU-Net cannot predict {case.name} with {predictor.setup.plans.source}: {about}") from error
    truth = read_truth(predictor, case, segmentation.shape, properties) if case.truth else None
    counted = geometry.looked_at(predictor, properties)
    ignored = predictor.label_manager.ignore_label
    if truth is not None and ignored is not None:
        counted &= truth != ignored
        truth[truth == ignored] = 0
        if not counted.any():
            raise InputError(f"{case.truth} holds nothing but the ignore label where {case.name} is looked at")
    ending = predictor.setup.dataset.file_ending
    files = [f"segmentations/{case.name}{ending}"]
    write_segmentation(predictor, segmentation, folder / files[0], properties)
    if slicer := write_for_slicer(folder / files[0], predictor.setup.dataset, properties):
        files.append(f"segmentations/{slicer.name}")
    masks = {"prediction": by_region(segmentation, predictor.setup)}
    if truth is not None:
        masks["truth"] = by_region(truth, predictor.setup)
    by_mask = {name: regions(mask != 0, counted) for name, mask in masks.items()}
    spacing = tuple(float(s) for s in properties["spacing"])
    view = choose(masks["prediction"], masks.get("truth"), counted, spacing, directions(properties))
    decoder = decoder_of(bare(predictor.network))
    rows, shown = [], {}
    for s in decoder.gated():
        psi: dict[str, float | None] = {}
        for kind in ("psi", "support"):
            if (kind, s) not in seen.maps:
                continue
            values = geometry.map_in_image(predictor, seen.maps.pop((kind, s)), seen.scale, properties)
            files.append(f"maps/{case.name}_{kind}_gate{s}{ending}")
            geometry.write_map(folder / files[-1], values, properties)
            if kind == "psi":
                psi = psi_means(values, by_mask, counted)
                shown[s] = view.of(values)
        tallies = [fold[s] for fold in seen.tallies]
        rows.append(gate_row(case.name, s, decoder.gate_stride(s), tallies, folds, psi))
    picture = image_slices(predictor, case, view, properties)
    cuts = {name: view.of(np.where(counted, mask, 0)) for name, mask in masks.items()}
    title = case.name if segmentation.any() else f"{case.name}: nothing is predicted"
    figure = f"figures/{case.name}.png"
    write_bytes(folder / figure, render(title, view, picture, cuts, shown, rows, outlines))
    shown_of_case: dict[str, Any] = {"figure": figure, "maps": files}
    if after is not None:
        shown_of_case["smoothed"] = show_smoothed(predictor, case, (segmentation, after), folder, properties)
    return rows, shown_of_case


def by_region(mask: np.ndarray, setup: Setup) -> np.ndarray:
    """The mask itself; where labels are regions, which of them each voxel is in, so that equal means right.

    The truth of a region holds the codes of its parts, nnU-Net's answer a code of its own for the region.
    """
    keys = list(setup.dataset.labels)
    if not has_regions(setup):
        return mask
    found = np.zeros(mask.shape, np.int64)
    for bit, key in enumerate(keys):
        found |= np.isin(mask, parts_of(key)).astype(np.int64) << bit
    return found


def show_smoothed(
    predictor: WatchingPredictor, case: ImageCase, answers: tuple[np.ndarray, np.ndarray], folder: Path, properties: Any
) -> Smoothed:
    """Shows before and after: the smoothed segmentation, a figure where most changed, and how many voxels did."""
    before, after = answers
    setup = predictor.setup
    file = f"smoothed/{case.name}{setup.dataset.file_ending}"
    write_segmentation(predictor, after.astype(before.dtype), folder / file, properties)
    figure = f"figures/{case.name}_smoothed.png"
    spacing = tuple(float(s) for s in properties["spacing"])
    view = choose(before, after, np.ones(before.shape, bool), spacing, directions(properties))
    picture = image_slices(predictor, case, view, properties)
    found = about(before, after, dict(setup.dataset.labels), file, figure)
    write_bytes(folder / figure, render_smoothed(case.name, view, picture, before, after, found, setup))
    return found


def preprocess(predictor: WatchingPredictor, case: ImageCase) -> tuple[torch.Tensor, dict[str, Any]]:
    """The data of a case, preprocessed as nnUNetv2_predict does it."""
    plans, configuration = predictor.plans_manager, predictor.configuration_manager
    found = len(read_images(predictor, case))
    channels = predictor.setup.dataset.channel_names
    if found != len(channels):
        raise InputError(
            f"{case.name} has {found} channel{'s' * (found != 1)}, but the model was trained on {len(channels)} "
            f"({', '.join(channels)}): one file each, CASE_0000, CASE_0001, ..., as for "
            f"nnUNetv2_predict"
        )
    if case.previous:
        images.read_segmentation(predictor.setup.plans.reader(), case.previous)
    preprocessor = configuration.preprocessor_class(verbose=False)
    data, seg, properties = preprocessor.run_case(
        case.files, case.previous, plans, configuration, predictor.dataset_json
    )
    if case.previous:
        data = np.vstack((data, predictor.setup.one_hot(seg[0], data.dtype)))
    assert len(data) == predictor.setup.input_channels
    return torch.from_numpy(data).to(dtype=torch.float32, memory_format=torch.contiguous_format), properties


def read_images(predictor: WatchingPredictor, case: ImageCase) -> np.ndarray:
    return images.read_images(predictor.setup.plans.reader(), case.files)[0]


def read_truth(
    predictor: WatchingPredictor, case: ImageCase, shape: tuple[int, ...], properties: dict[str, Any]
) -> np.ndarray:
    assert case.truth is not None
    truth, own = images.read_segmentation(predictor.setup.plans.reader(), case.truth)
    try:
        check_geometry(truth.shape, own, (1, *shape), properties)
    except ValueError as error:
        raise InputError(f"{case.files[0]} is not the image of {case.truth}: {error}") from None
    whole: np.ndarray = truth[0].astype(np.int16)
    return whole


def write_segmentation(predictor: WatchingPredictor, segmentation: np.ndarray, path: Path, properties: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    images.write_segmentation(predictor.setup.plans.reader(), segmentation, path, properties)


def image_slices(predictor: WatchingPredictor, case: ImageCase, view: View, properties: Any) -> list[np.ndarray]:
    """The first channel in greys, or colours."""
    read: np.ndarray = predictor.setup.plans.reader().read_images(case.files)[0]
    return view.of(shaded(read, in_colour(predictor.setup.dataset.channel_names, properties)))
