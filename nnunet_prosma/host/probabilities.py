"""What nnU-Net saves of a case with --npz or --save_probabilities: its probabilities beside its segmentation."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_prosma.errors import InputError
from nnunet_prosma.host.images import read_segmentation, write_segmentation
from nnunet_prosma.host.labels import LabelKey
from nnunet_prosma.host.plans import Setup
from nnunet_prosma.host.segmentations import check_geometry


@dataclass(frozen=True)
class SoftCase:
    """p (C, *S): of classes that sum to 1, the background first, or of regions. labels (*S) is nnU-Net's answer."""

    name: str
    p: np.ndarray = field(repr=False)
    labels: np.ndarray = field(repr=False)
    spacing_mm: tuple[float, ...]
    properties: Any = field(repr=False)


def soft_cases(folder: Path, ending: str) -> list[str]:
    """The names of all cases, with probabilities, a segmentation or both: reading tells what one lacks. A folder
    without any probabilities is an InputError."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: name one that nnU-Net filled with --save_probabilities or --npz")
    names = {path.stem for path in folder.glob("*.npz")}
    if not names:
        raise InputError(
            f"{folder} holds no probabilities (CASE.npz): predict with --save_probabilities, validate with --npz"
        )
    return sorted(names | {path.name.removesuffix(ending) for path in folder.glob(f"*{ending}")})


def read_soft_case(folder: Path, name: str, setup: Setup) -> SoftCase:
    file, segmentation = folder / f"{name}.npz", folder / f"{name}{setup.dataset.file_ending}"
    for there, missing in ((file, segmentation), (segmentation, file)):
        if there.is_file() and not missing.is_file():
            raise InputError(f"{missing} is missing, which nnU-Net saves beside {there.name}")
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as content:
            p = content["probabilities"].astype(np.float32)
    except Exception as error:  # numpy, zip and zlib each raise their own
        raise InputError(f"{file} cannot be read as nnU-Net's CASE.npz ({' '.join(str(error).split())})") from None
    labels, properties = read_segmentation(setup.plans.reader(), segmentation)
    channels = len(channels_of(setup))
    if p.shape != (channels, *labels.shape[1:]):
        raise InputError(
            f"{file} must hold probabilities of {channels} classes in {segmentation.name}'s size "
            f"{_size(labels.shape[1:])}, and holds {_size(p.shape)}"
        )
    if not np.isfinite(p).all() or p.min() < -1e-3 or p.max() > 1 + 1e-3:
        raise InputError(f"{file} must hold probabilities between 0 and 1, and holds others")
    if not has_regions(setup) and np.abs(p.sum(0) - 1).max() > 1e-2:  # saved in half precision
        raise InputError(f"{file} must hold probabilities that sum to 1 in each voxel, and holds others")
    return soft_case(name, p, labels[0], properties)


def soft_case(name: str, p: Any, labels: Any, properties: Any) -> SoftCase:
    """A case, of what nnU-Net gives with return_probabilities and what its reader says of the image."""
    spacing = tuple(float(mm) for mm in properties["spacing"])
    known = spacing if math.prod(spacing) > 0 else (1.0,) * (np.ndim(p) - 1)
    return SoftCase(name, np.asarray(p, np.float32), np.asarray(labels), known, properties)


def read_truth(file: Path, case: SoftCase, setup: Setup) -> np.ndarray:
    """(*S), the reference segmentation of a case, of the same geometry."""
    labels, properties = read_segmentation(setup.plans.reader(), file)
    try:
        check_geometry(labels.shape, properties, (1, *case.labels.shape), case.properties)
    except ValueError as error:
        raise InputError(f"the prediction of {case.name} is not of the image of {file}: {error}") from None
    return np.asarray(labels[0])


def write_labels(file: Path, labels: np.ndarray, case: SoftCase, setup: Setup) -> None:
    """Writes a segmentation as nnU-Net writes its own answer to this case."""
    kind = np.uint8 if labels.max(initial=0) < 255 else np.uint16
    write_segmentation(setup.plans.reader(), labels.astype(kind), file, case.properties)


def channels_of(setup: Setup) -> list[LabelKey]:
    """What the channels of probabilities are: regions, or the background and the labels."""
    foreground = list(setup.dataset.labels)
    return foreground if has_regions(setup) else [0, *foreground]


def has_regions(setup: Setup) -> bool:
    return bool(setup.dataset.manager_for(setup.plans).has_regions)


def hardened(p: np.ndarray, setup: Setup) -> np.ndarray:
    """(*S): the segmentation that nnU-Net makes of probabilities."""
    labels: np.ndarray = np.asarray(setup.dataset.manager_for(setup.plans).convert_probabilities_to_segmentation(p))
    return labels


def largest_components(labels: np.ndarray, of: Sequence[LabelKey]) -> np.ndarray:
    """nnU-Net's postprocessing: of each label or region, all but the largest component is removed."""
    from nnunetv2.postprocessing.remove_connected_components import remove_all_but_largest_component_from_segmentation

    for label in of:
        labels = remove_all_but_largest_component_from_segmentation(labels, [label])
    return labels


def dice_of(answer: np.ndarray, truth: np.ndarray, labels: Sequence[LabelKey], ignore: int | None) -> list[float]:
    """The Dice of each label, as nnU-Net measures it; NaN where neither has it."""
    from nnunetv2.evaluation.evaluate_predictions import compute_tp_fp_fn_tn, region_or_label_to_mask

    ignored = truth == ignore if ignore is not None else None
    found = []
    for label in labels:
        tp, fp, fn, _ = compute_tp_fp_fn_tn(
            region_or_label_to_mask(truth, label), region_or_label_to_mask(answer, label), ignored
        )
        found.append(2 * tp / (2 * tp + fp + fn) if tp + fp + fn else math.nan)
    return found


def _size(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
