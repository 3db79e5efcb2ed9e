"""The largest regressions and gains: the slice in which two runs differ most, with image, truth, and both answers."""

import glob
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import fill

import matplotlib
import numpy as np

from nnunet_prosma.compare.analysis import Analysis
from nnunet_prosma.compare.extremes import Picture
from nnunet_prosma.compare.predictions import Predictions
from nnunet_prosma.compare.summaries import ComparedCase
from nnunet_prosma.compare.with_surfaces import find_truth, reader_of
from nnunet_prosma.errors import InputError
from nnunet_prosma.files import write_bytes
from nnunet_prosma.host.datasets import optional_folder
from nnunet_prosma.host.directions import directions
from nnunet_prosma.host.images import read_images, read_segmentation
from nnunet_prosma.host.labels import LabelKey, parts_of
from nnunet_prosma.host.trained import TrainedFolder
from nnunet_prosma.report.drawing import STYLE, figure, shorten
from nnunet_prosma.report.orientation import Display, display
from nnunet_prosma.report.overlay import edge_letters, hatch, legend_entries, painted
from nnunet_prosma.report.shade import in_colour, shaded

MARGIN = 0.25
"""Share of the size of what is segmented, on each side of it."""
SHORT = 11
"""Letters of a label of which three fit beside each other."""


@dataclass(frozen=True)
class Masks:
    """Truth and both predictions as their files hold them, what of them is ignored, and how they are turned."""

    volumes: list[np.ndarray]
    ignored: np.ndarray
    view: Display


def with_pictures(analysis: Analysis, largest: Sequence[Picture], folder: Path) -> list[Picture]:
    """Each with its picture, which is also written into the folder."""
    drawn = [_picture(analysis, picture) for picture in largest]
    for picture in drawn:
        if picture.png:
            write_bytes(folder / f"{picture.name}.png", picture.png)
    return drawn


def _picture(analysis: Analysis, picture: Picture) -> Picture:
    row, name, about = picture.row, picture.case, picture.about
    candidate = analysis.table.runs.index(row.candidate)
    runs = [analysis.loaded.runs[0], analysis.loaded.runs[candidate]]
    cases = [analysis.loaded.cases[0][name], analysis.loaded.cases[candidate][name]]
    try:
        masks = read_masks(runs, cases)
    except Exception as error:  # whatever a reader raises: the numbers stay worth showing
        return replace(picture, about=f"{about} No picture: {error}", problem=f"{name} has no picture: {error}")
    image, problem = None, ""
    try:
        image = read_image(runs[0], name, cases[0].truth, masks.volumes[0].shape)
        missing = "" if image is not None else " The image was not found in nnUNet_raw or beside the truth."
    except InputError as error:
        missing = f" The image itself cannot be shown: {error}."
        problem = f"{name} has a picture without its image: {error}"
    labels = {key: label for key, label in runs[0].labels.items() if key in analysis.table.keys}
    number = most_different(masks, list(labels))
    count = masks.ignored.shape[masks.view.axis]
    about += f" {_first_large(masks.view.number(number, count))}." if count > 1 else ""
    about += missing
    titles = ["image", "ground truth", *(analysis.loaded.trainings_of(r)[0].name for r in (0, candidate))]
    return replace(picture, about=about, png=render(image, masks, number, titles, labels), problem=problem)


def read_masks(runs: Sequence[TrainedFolder], cases: Sequence[ComparedCase]) -> Masks:
    reader = reader_of(runs[0])
    truth = find_truth(runs[0], cases[0].truth)
    for path in (truth, *(c.prediction for c in cases)):
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing")
    read = [read_segmentation(reader, p) for p in (truth, cases[0].prediction, cases[1].prediction)]
    volumes = [array[0] for array, _ in read]
    if len({v.shape for v in volumes}) > 1:
        raise ValueError("the sizes of truth and predictions differ")
    properties = read[0][1]
    ignored = np.zeros(volumes[0].shape, bool)
    if runs[0].ignore_label is not None:
        ignored = volumes[0] == runs[0].ignore_label
    view = display(volumes[0].shape, properties["spacing"], directions(properties))
    return Masks(volumes, ignored, view)


def files_of(run: TrainedFolder, case: str, truth: Path) -> list[Path]:
    """All channels of the case's image: where nnUNet_raw has it, or in the folder beside that of the truth."""
    described = run.described if isinstance(run, Predictions) else run.setup.dataset
    raw, ending, first = optional_folder("nnUNet_raw"), run.file_ending, f"{case}_0000{run.file_ending}"
    places = []
    if raw is not None:
        listed = [raw / run.dataset / os.path.expandvars(file) for file in described.files_of(case)]
        if len(listed) > 1 and listed[0].is_file():
            return listed
        places += [listed[0], raw / run.dataset / "imagesTs" / first]
    beside = truth.parent.parent  # of labelsTs: imagesTs
    places += [
        beside / name / first for name in (truth.parent.name.replace("labels", "images"), "imagesTs", "imagesTr")
    ]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        return []
    stem = glob.escape(found.name.removesuffix(f"_0000{ending}"))
    return [found, *sorted(set(found.parent.glob(f"{stem}_[0-9][0-9][0-9][0-9]{ending}")) - {found})]


def read_image(run: TrainedFolder, case: str, truth: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """The raw image in greys or colours, None if it is not there; one that is not whole is an InputError."""
    described = run.described if isinstance(run, Predictions) else run.setup.dataset
    files = files_of(run, case, truth)
    if not files:
        return None
    image, properties = read_images(reader_of(run), files)
    if image.shape[1:] != shape:
        raise InputError(f"{files[0]} has other voxels than its ground truth")
    return shaded(image, in_colour(described.channel_names, properties))


def most_different(masks: Masks, keys: Sequence[LabelKey]) -> int:
    """The slice in which the answers differ in most voxels that count; without a difference, the middle one."""
    _, a, b = masks.volumes
    parts = [parts_of(key) for key in keys]
    differs = np.zeros(a.shape, bool)
    for part in parts:
        differs |= np.isin(a, part) != np.isin(b, part)
    differs &= ~masks.ignored
    counts = differs.sum(tuple(axis for axis in range(3) if axis != masks.view.axis))
    return int(counts.argmax()) if counts.any() else len(counts) // 2


def render(
    image: np.ndarray | None, masks: Masks, number: int, titles: Sequence[str], labels: Mapping[LabelKey, str]
) -> bytes:
    """Two by two: the image, then truth and answers over it; cut to what is segmented and counts."""
    view, keys = masks.view, list(labels)
    known = [part for key in keys for part in parts_of(key)]
    ignored = view.cut(masks.ignored, number)
    cuts = [np.where(ignored, 0, view.cut(volume, number)) for volume in masks.volumes]
    window = crop(np.any([np.isin(cut, known) for cut in cuts], axis=0))
    ignored, cuts = ignored[window], [cut[window] for cut in cuts]
    shape = ignored.shape
    grey = np.zeros(shape) if image is None else view.cut(image, number)[window]
    present = [key for key in keys if any(np.isin(cut, parts_of(key)).any() for cut in cuts)]
    with matplotlib.rc_context(STYLE):
        entries = legend_entries(present, labels, bool(ignored.any()))
        across = 2 if any(len(str(entry.get_label())) > SHORT for entry in entries) else 3
        lines = -(-len(entries) // across)
        above = [fill(shorten(title, 44), 22) for title in titles]  # trainers have long names without a space
        lines += max(title.count("\n") for title in above)
        page = figure(4.3 * min(2.0, max(0.5, view.aspect * shape[0] / shape[1])) + 0.6 + 0.22 * lines)
        for index, title in enumerate(above):
            axes = page.add_subplot(2, 2, index + 1)
            axes.set_title(title, loc="left")
            axes.set(xticks=[], yticks=[])
            shown = painted(grey, cuts[index - 1] if index else np.zeros(shape), keys)
            axes.imshow(shown, aspect=view.aspect, interpolation="nearest")
            if index:
                hatch(axes, ignored)
            edge_letters(axes, view.letters)
        if entries:
            page.legend(handles=entries, loc="outside lower left", ncols=min(across, len(entries)), frameon=False)
        file = io.BytesIO()
        page.savefig(file, format="png", dpi=110)
    return file.getvalue()


def crop(mask: np.ndarray) -> tuple[slice, slice]:
    """A window around what is set, with a margin; everything if nothing is."""
    if not mask.any():
        return slice(None), slice(None)
    window = []
    for axis in (0, 1):
        where = np.flatnonzero(mask.any(1 - axis))
        margin = int(MARGIN * (where[-1] - where[0] + 1)) + 8
        window.append(slice(max(0, int(where[0]) - margin), int(where[-1]) + margin + 1))
    return window[0], window[1]


def _first_large(text: str) -> str:
    return text[:1].upper() + text[1:]
