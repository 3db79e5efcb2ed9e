"""Draws what the confirmation found, found.png beside this file, from the reports in docs/results.

python docs/figures/found.py
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

HERE = Path(__file__).parent
REPORTS = {
    "confirmation/cvc/report": "CVC-ClinicDB",
    "confirmation/cvc/second": "CVC-ClinicDB, trained again",
    "confirmation/isic2017/report": "ISIC 2017",
    "confirmation/isic2017/second": "ISIC 2017, trained again",
    "confirmation/acdc/report": "ACDC",
    "confirmation/cvc/outside_kvasir": "Kvasir-SEG, by models of CVC-ClinicDB",
}
"""Folders in docs/results with a comparison's summary.json, and what their cases are."""
NAMES = {
    "nnUNetTrainerProSMA_open_30x100": "gates that start open",
    "nnUNetTrainerProSMA_30x100": "gates with the paper's start",
}
MARGIN = 1.0
"""Points of Dice: docs/protocol.md."""


def main() -> None:
    lines = [line for folder, data in REPORTS.items() for line in compared(folder, data)]
    figure, axes = plt.subplots(figsize=(8.4, 0.8 + 0.34 * len(lines)), layout="constrained")
    for y, (_, points, low, high) in enumerate(lines):
        axes.plot([low, high], [y, y], color="#24557a", lw=2)
        axes.plot(points, y, "s", color="#24557a", ms=6)
    axes.axvline(0, color="black", lw=0.8)
    axes.axvline(-MARGIN, color="black", lw=0.8, ls=":")
    axes.set_yticks(range(len(lines)), [name for name, *_ in lines])
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.set_xlabel("points of Dice, minus nnU-Net's")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)
    figure.savefig(HERE / "found.png", dpi=160)


def compared(folder: str, data: str) -> Iterator[tuple[str, float, float, float]]:
    """A line for each run of a report but nnU-Net's: name, difference and the ends of its interval in points."""
    said: dict[str, Any] = json.loads((HERE.parent / "results" / folder / "summary.json").read_text())
    for row in said["statistics"]:
        if row["primary"]:
            ends = row["mean_interval"]
            points = [100 * value for value in (row["mean_difference"], ends["low"], ends["high"])]
            yield f"{data}: {NAMES[row['candidate']]}", *points


if __name__ == "__main__":
    main()
