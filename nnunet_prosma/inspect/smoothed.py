"""What smoothing changes in one case: before and after, and how many voxels."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib.style
import numpy as np
from matplotlib.patches import Patch

from nnunet_prosma.host.labels import LabelKey, parts_of
from nnunet_prosma.host.plans import Setup
from nnunet_prosma.inspect.figure import DPI, MISSED, RIGHT, WRONG, judged
from nnunet_prosma.inspect.slices import View
from nnunet_prosma.report.drawing import STYLE, figure, shorten
from nnunet_prosma.report.overlay import edge_letters, legend_entries, painted

ADDED, REMOVED = MISSED, WRONG


@dataclass(frozen=True)
class Smoothed:
    """changed: voxels with another label than before; sizes: of each label, voxels before and after."""

    changed: int
    voxels: int
    sizes: dict[str, tuple[int, int]]
    file: str
    figure: str

    @property
    def sentence(self) -> str:
        if not self.changed:
            return "Smoothing changes no voxel."
        sizes = ", ".join(f"{name} {a:,} to {b:,}" for name, (a, b) in self.sizes.items())
        return f"Smoothing changes {self.changed:,} of {self.voxels:,} voxels ({sizes})."


def about(before: np.ndarray, after: np.ndarray, labels: Mapping[LabelKey, str], file: str, figure: str) -> Smoothed:
    sizes = {}
    for key, name in labels.items():
        parts = parts_of(key)
        sizes[name] = int(np.isin(before, parts).sum()), int(np.isin(after, parts).sum())
    return Smoothed(int((before != after).sum()), before.size, sizes, file, figure)


def render_smoothed(
    name: str,
    view: View,
    image: Sequence[np.ndarray],
    before: np.ndarray,
    after: np.ndarray,
    found: Smoothed,
    setup: Setup,
) -> bytes:
    """A row a slice: before, after, and what was added, removed or given another label."""
    labels = dict(setup.dataset.labels)
    keys = list(labels)
    answers = [view.of(answer) for answer in (before, after)]
    with matplotlib.style.context(["default", STYLE]):
        tall, wide = image[0].shape[:2]
        height = 2.1 * min(2.0, max(0.5, view.aspect * tall / wide))
        page = figure(height * len(image) + 1.1)
        page.set_figwidth(7.2)
        page.suptitle(f"{shorten(name, 60)}: {found.changed:,} voxels changed", x=0.01, ha="left", fontsize=10.5)
        for line, number in enumerate(view.shown):
            a, b = (slices[line] for slices in answers)
            panels = (painted(image[line], a, keys), painted(image[line], b, keys), judged(image[line], a, b))
            for column, (title, shown) in enumerate(zip(("before", "after", "what changed"), panels, strict=True)):
                axes = page.add_subplot(len(image), 3, 3 * line + column + 1)
                axes.imshow(shown, aspect=view.aspect, interpolation="nearest")
                axes.set(xticks=[], yticks=[])
                edge_letters(axes, view.display.letters)
                if not line:
                    axes.set_title(title, loc="left")
                if not column and view.count > 1:
                    axes.set_ylabel(view.display.number(number, view.count))
        present = [key for key in keys if np.isin(np.stack([*answers[0], *answers[1]]), parts_of(key)).any()]
        changes = {"kept": RIGHT, "added": ADDED, "removed, or another label": REMOVED}
        entries = legend_entries(present, labels, False)
        entries += [Patch(color=colour, alpha=0.8, label=text) for text, colour in changes.items()]
        page.legend(handles=entries, loc="outside lower left", ncols=5, frameon=False)
        file = io.BytesIO()
        page.savefig(file, format="png", dpi=DPI)
    return file.getvalue()
