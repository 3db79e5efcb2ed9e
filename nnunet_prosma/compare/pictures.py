"""The largest regressions and gains: the slice in which two runs differ most, with image, truth, and both answers."""

import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from textwrap import fill

import matplotlib
import numpy as np
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.patches import Patch

from nnunet_prosma.compare.add_surfaces import find_truth, reader_of
from nnunet_prosma.compare.analysis import Analysis
from nnunet_prosma.compare.extremes import Picture
from nnunet_prosma.compare.summaries import Case
from nnunet_prosma.files import write_bytes
from nnunet_prosma.host.datasets import optional_folder
from nnunet_prosma.host.runs import Run
from nnunet_prosma.report.drawing import STYLE, figure, shorten

LEGEND = 9
"""Labels named under a picture."""
MARGIN = 0.25
"""Of the size of what is segmented, on each side of it."""


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
        masks, spacing = read_masks(runs, cases)
    except Exception as error:  # whatever a reader raises: the numbers stay worth showing
        return replace(picture, about=f"{about} No picture: {error}")
    image = read_image(runs[0], name, masks[0].shape)
    z = most_different_slice(masks[1], masks[2])
    about += f" Slice {z + 1} of {len(masks[0])}." if len(masks[0]) > 1 else ""
    about += "" if image is not None else " The image itself was not found in nnUNet_raw."
    titles = ["image", "ground truth", row.baseline, row.candidate]
    names = {key: label for key, label in runs[0].labels.items() if isinstance(key, int)}
    grey = None if image is None else (image[z], *np.percentile(image, (0.5, 99.5)))
    png = render(grey, [m[z] for m in masks], titles, spacing[1:], names)
    return replace(picture, about=about, png=png)


def read_masks(runs: Sequence[Run], cases: Sequence[Case]) -> tuple[list[np.ndarray], list[float]]:
    """Truth and both predictions, (slices, rows, columns) each, and the spacing."""
    reader = reader_of(runs[0])
    truth = find_truth(runs[0], cases[0].truth)
    for path in (truth, *(c.prediction for c in cases)):
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing")
    read = [reader.read_seg(str(p)) for p in (truth, cases[0].prediction, cases[1].prediction)]
    masks = [array[0] for array, _ in read]
    if len({m.shape for m in masks}) > 1:
        raise ValueError("the sizes of truth and predictions differ")
    return masks, list(read[0][1]["spacing"])


def read_image(run: Run, case: str, shape: tuple[int, ...]) -> np.ndarray | None:
    """The first channel of the raw image, None if it is not there."""
    raw = optional_folder("nnUNet_raw")
    if raw is None:
        return None
    path = raw / run.dataset / os.path.expandvars(run.setup.dataset.files_of(case)[0])
    if not path.is_file():
        return None
    try:
        image = reader_of(run).read_images([str(path)])[0]
    except Exception:  # a picture without its image is still a picture
        return None
    return image[0] if image.shape[1:] == shape else None


def most_different_slice(a: np.ndarray, b: np.ndarray) -> int:
    """Along the first axis; the middle one if they are the same."""
    counts = (a != b).sum((1, 2))
    return int(counts.argmax()) if counts.any() else len(a) // 2


def render(
    image: tuple[np.ndarray, float, float] | None,
    masks: Sequence[np.ndarray],
    titles: Sequence[str],
    spacing: Sequence[float],
    names: Mapping[int, str],
) -> bytes:
    """Two by two: the image with its darkest and brightest grey, then the masks over it; cut to what is segmented."""
    window = crop(np.any([m != 0 for m in masks], axis=0))
    cuts = [m[window] for m in masks]
    shape, aspect = cuts[0].shape, spacing[0] / spacing[1]
    labels = max(1, int(max(m.max() for m in masks)))
    tab = matplotlib.colormaps["tab20" if labels > 10 else "tab10"]
    colours = ListedColormap([tab(i % tab.N) for i in range(labels)])
    present = [k for k in sorted({int(v) for cut in cuts for v in np.unique(cut)}) if k in names][:LEGEND]
    with matplotlib.rc_context(STYLE):
        lines = (len(present) + 2) // 3
        page = figure(4.3 * min(2.0, max(0.5, aspect * shape[0] / shape[1])) + 0.5 + 0.22 * lines)
        for index, title in enumerate(titles):
            axes = page.add_subplot(2, 2, index + 1)
            axes.set_title(fill(shorten(title, 44), 22), loc="left")  # trainers have long names without a space
            axes.set(xticks=[], yticks=[])
            grey, dark, bright = (np.zeros(shape), 0.0, 1.0) if image is None else (image[0][window], *image[1:])
            axes.imshow(grey, cmap="gray", vmin=dark, vmax=bright, aspect=aspect)
            if index:
                shown = np.ma.masked_equal(cuts[index - 1], 0)
                limits = Normalize(0.5, labels + 0.5)
                axes.imshow(shown, cmap=colours, alpha=0.55, aspect=aspect, interpolation="nearest", norm=limits)
        if present:
            handles = [Patch(color=colours(k - 1), alpha=0.8) for k in present]
            texts = [shorten(names[k]) for k in present]
            page.legend(handles, texts, loc="outside lower left", ncols=min(3, len(present)), frameon=False)
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
