"""What the demo shows at its end: the table, and the picture."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_prosma.demo.phantom import LABELS, case
from nnunet_prosma.demo.training import Training
from nnunet_prosma.files import write_bytes, write_json
from nnunet_prosma.host.summaries import ValidatedCase, read_summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

STRUCTURES = {name: label for name, label in LABELS.items() if label}
COLOURS = {"organ": "#3aa0ff", "lesion": "#ffb000"}


@dataclass(frozen=True)
class Outcome:
    """What one trainer came to."""

    trainer: str
    title: str
    training: Training
    predictions: Path
    """Folder of the predictions, with nnU-Net's summary.json."""

    def mean_dice(self) -> dict[str, float]:
        """The mean of each structure over the cases where it is defined, as nnU-Net takes the mean."""
        values = {name: [case.values[label].dice for case in self._cases()] for name, label in STRUCTURES.items()}
        defined = {name: [dice for dice in found if dice == dice] for name, found in values.items()}
        return {name: sum(found) / len(found) if found else float("nan") for name, found in defined.items()}

    def dice_of(self, seed: int) -> dict[str, float]:
        (values,) = (c.values for c in self._cases() if c.prediction.name == f"{case(seed)}.nii.gz")
        return {name: values[label].dice for name, label in STRUCTURES.items()}

    def _cases(self) -> list[ValidatedCase]:
        return read_summary(self.predictions / "summary.json")


def table(outcomes: list[Outcome]) -> str:
    head = ["trainer", *[f"Dice {name}" for name in STRUCTURES], "training", "per epoch", "parameters"]
    rows = [
        [
            o.trainer,
            *[f"{dice:.3f}" for dice in o.mean_dice().values()],
            clock(o.training.seconds),
            f"{o.training.epoch_s:.1f} s",
            f"{o.training.parameters:,}",
        ]
        for o in outcomes
    ]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [[row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in (head, *rows)]
    return "\n".join("   ".join(line) for line in lines)


def clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def write_numbers(path: Path, outcomes: list[Outcome]) -> None:
    numbers = {
        o.trainer: {
            "mean_dice": o.mean_dice(),
            "training_s": round(o.training.seconds, 1),
            "epoch_s": o.training.epoch_s,
            "parameters": o.training.parameters,
        }
        for o in outcomes
    }
    write_json(path, numbers)


def draw(path: Path, dataset: Path, seeds: list[int], outcomes: list[Outcome], maps: Path) -> None:
    """One row a phantom, the slice with most lesion: the image, the truth and each prediction on it, the finest psi.

    maps: the folder of psi that nnunet-prosma inspect wrote for the gated network.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    figure = Figure(figsize=(3 * (3 + len(outcomes)), 2.9 * len(seeds) + 1.2), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle("Phantoms that neither network has seen: one slice of each", fontsize=15)
    panels = figure.subplots(len(seeds), 3 + len(outcomes), squeeze=False)
    for row, seed in zip(panels, seeds, strict=True):
        image, aspect = _read(dataset / "imagesTs" / f"{case(seed)}_0000.nii.gz")
        truth, _ = _read(dataset / "labelsTs" / f"{case(seed)}.nii.gz")
        at = int((truth == LABELS["lesion"]).sum((1, 2)).argmax())
        for axes in row:
            axes.imshow(image[at], cmap="gray", aspect=aspect, interpolation="nearest")
            axes.set(xticks=[], yticks=[])
        row[0].set_ylabel(f"{case(seed)}, slice {at + 1} of {len(image)}", fontsize=12)
        _outline(row[1], truth[at])
        for axes, outcome in zip(row[2:-1], outcomes, strict=True):
            _outline(axes, _read(outcome.predictions / f"{case(seed)}.nii.gz")[0][at])
            dice = outcome.dice_of(seed)
            axes.set_xlabel("Dice: " + ", ".join(f"{name} {value:.2f}" for name, value in dice.items()), fontsize=12)
        psi = _read(max(maps.glob(f"{case(seed)}_psi_gate*.nii.gz")))[0][at]
        row[-1].imshow(psi, cmap="PuOr_r", vmin=0, vmax=1, aspect=aspect, interpolation="nearest")
        row[-1].set_xlabel(f"psi {psi.min():.2f} to {psi.max():.2f}; orange is open", fontsize=12)
    titles = ["image", "truth", *[o.title for o in outcomes], "where its finest gate is open"]
    for axes, title in zip(panels[0], titles, strict=True):
        axes.set_title(title, fontsize=14)
    figure.legend(
        handles=[Patch(color=colour, label=name) for name, colour in COLOURS.items()],
        title="Bright structures outside the organ are clutter: they carry no label. Dice is that of the whole volume.",
        loc="outside lower center",
        ncols=len(COLOURS),
        frameon=False,
        fontsize=12,
        title_fontsize=12,
    )
    file = io.BytesIO()
    figure.savefig(file, dpi=110, format="png")
    write_bytes(path, file.getvalue())


def _read(path: Path) -> "tuple[NDArray, float]":
    """The array, and the aspect of a voxel in its slices: height over width."""
    import SimpleITK

    image = SimpleITK.ReadImage(str(path))
    return SimpleITK.GetArrayFromImage(image), image.GetSpacing()[1] / image.GetSpacing()[0]


def _outline(axes: "Axes", labels: "NDArray") -> None:
    from matplotlib.colors import to_rgba

    for name, label in STRUCTURES.items():
        mask = labels == label
        if mask.any():
            tint = mask[..., None] * [*to_rgba(COLOURS[name])[:3], 0.55]
            axes.imshow(tint, aspect=axes.get_aspect(), interpolation="nearest")
