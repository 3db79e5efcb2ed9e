"""Draws what the confirmation found, beside this file, from what stands in docs/results/confirmation: found.png, the
differences to nnU-Net, and found_gates.png, what the gates did meanwhile.

python docs/figures/found.py
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.lines import Line2D

from nnunet_prosma.watch import plot, record

HERE = Path(__file__).parent
FOUND = HERE.parent / "results" / "confirmation"
REPORTS = {
    "cvc/report": "CVC-ClinicDB",
    "cvc/second": "CVC-ClinicDB,\ntrained again",
    "isic2017/report": "ISIC 2017",
    "isic2017/second": "ISIC 2017,\ntrained again",
    "acdc/report": "ACDC",
    "acdc/second": "ACDC,\ntrained again",
    "cvc/outside_kvasir": "CVC-ClinicDB's models\non Kvasir-SEG",
    "kvasir/outside_cvc": "Kvasir-SEG's models\non CVC-ClinicDB",
}
"""Folders with a comparison's summary.json, and what their cases are."""
STARTS = {
    "nnUNetTrainerProSMA_open_30x100": ("gates that start open", "#24557a", "s"),
    "nnUNetTrainerProSMA_30x100": ("gates with the paper's start", "#c2570c", "o"),
}
"""Name, colour and mark of the runs beside nnU-Net."""
DATA = {"cvc": "CVC-ClinicDB", "isic2017": "ISIC 2017", "acdc": "ACDC"}
COLUMNS = {
    "psi_mean": "psi, mean",
    "zeros": "exact zeros in z",
    "unsupported": "voxels without any z",
    "c_mean": "c, mean",
}
MARGIN = 1.0
"""Points of Dice: docs/protocol.md."""


def main() -> None:
    differences().savefig(HERE / "found.png", dpi=160)
    gates().savefig(HERE / "found_gates.png", dpi=100)


def differences() -> Any:
    figure, axes = plt.subplots(figsize=(7.2, 1.2 + 0.46 * len(REPORTS)), layout="constrained")
    for y, folder in enumerate(REPORTS):
        for shift, (name, colour, mark, points, low, high) in zip((-0.14, 0.14), compared(folder), strict=True):
            axes.plot([low, high], [y + shift] * 2, color=colour, lw=2)
            axes.plot(points, y + shift, mark, color=colour, ms=6, label=None if y else name)
    axes.axvline(0, color="black", lw=0.8)
    axes.axvline(-MARGIN, color="black", lw=0.8, ls=":")
    axes.set_yticks(range(len(REPORTS)), REPORTS.values())
    axes.set_ylim(len(REPORTS) - 0.5, -0.5)
    axes.set_xlabel("points of Dice, minus nnU-Net's")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)
    figure.legend(loc="outside upper right", ncols=2, frameon=False)
    return figure


def compared(folder: str) -> Iterator[tuple[str, str, str, float, float, float]]:
    """For each run beside nnU-Net how it is drawn, its difference and the ends of the interval, in points."""
    said: dict[str, Any] = json.loads((FOUND / folder / "summary.json").read_text())
    for row in said["statistics"]:
        if row["primary"]:
            ends = row["mean_interval"]
            points = (100 * value for value in (row["mean_difference"], ends["low"], ends["high"]))
            yield (*STARTS[row["candidate"]], *points)  # type: ignore[misc]


def gates() -> Any:
    """A column for each data set and start, a colour for each gate: each training thin, their mean thick."""
    columns = [(data, start) for data in DATA for start in STARTS]
    figure, grid = plt.subplots(
        len(COLUMNS), len(columns), figsize=(14, 7.2), sharex=True, sharey="row", layout="constrained"
    )
    for axes, (data, start) in zip(grid.T, columns, strict=True):
        trainings = [record.read(path) for path in sorted((FOUND / data).glob(f"collected/*/*/{start}__*/*/gates.csv"))]
        axes[0].set_title(f"{DATA[data]}\n{STARTS[start][0]}", fontsize="medium")
        axes[-1].set_xlabel(f"epoch, {len(trainings)} trainings")
        strides = {row.gate: row.stride for row in trainings[0].rows}
        for below, column in zip(axes, COLUMNS, strict=True):
            below.set_ylim(-0.03, 1.03)
            below.grid(axis="y", alpha=0.3, lw=0.5)
            below.spines[["top", "right"]].set_visible(False)
            for gate in strides:
                curves(below, trainings, gate, column, plot.colour(gate, len(strides)))
    for axes, title in zip(grid[:, 0], COLUMNS.values(), strict=True):
        axes.set_ylabel(title)
    handles = [Line2D([], [], color=plot.colour(gate, len(strides)), lw=2.5) for gate in strides]
    names = [f"gates.{gate}, stride {stride}" for gate, stride in strides.items()]
    figure.legend(handles, names, loc="outside upper left", ncols=len(names), frameon=False)
    return figure


def curves(axes: Any, trainings: Sequence[record.Record], gate: int, column: str, ink: Any) -> None:
    by_epoch = defaultdict(list)
    for training in trainings:
        values = {row.epoch: row.values[column] for row in training.of(gate)}
        axes.plot(list(values), list(values.values()), c=ink, lw=0.4, alpha=0.5)
        for epoch, value in values.items():
            by_epoch[epoch].append(value)
    axes.plot(list(by_epoch), [mean(of_epoch) for of_epoch in by_epoch.values()], c=ink, lw=2)


if __name__ == "__main__":
    main()
