"""index.html: what the gates did, over all cases and case by case."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from nnunet_prosma.files import write_text
from nnunet_prosma.inspect.measure import PLACES, GateRow
from nnunet_prosma.inspect.smoothed import Smoothed
from nnunet_prosma.report.page import page
from nnunet_prosma.report.table import NO_BREAK, html_table

HOW_TO_READ = (
    "A gate multiplies the encoder's skip by psi, one number a voxel: where, and by c, one number a channel: what. 1 "
    "is open, 0 is closed, and 0.5 is what a gate says that knows nothing. Gates are listed from the coarsest to the "
    "finest; a stride of 4 means that one voxel of the gate is four of the image. zeros is the share of exact zeros "
    "in z, the field after the threshold; without support is the share of voxels where all of z is zero. The rim is a "
    "voxel on either side of the border of what is segmented. psi is that of the prediction: the mean over windows, "
    "mirrorings and folds, as nnU-Net takes it of the logits. Slices are drawn as radiologists look at them: the "
    "patient's left (L) is on the right; A is front, P back, S head, I feet, where the image knows directions. They "
    "are counted from 1 along the axis that they are cut along, as ITK-SNAP counts them. Drawn are the gates whose psi "
    "differs most between what is predicted and what is not; the tables have all."
)


def write_index(rows: Sequence[GateRow], settings: Mapping[str, Any], files: Mapping[str, Any], folder: Path) -> None:
    """files: case -> path of its figure and its maps, beside index.html."""
    title = f"Gates of {settings['trainer']}, {settings['configuration']}, fold {', '.join(settings['folds'])}"
    cases = list(files)
    body = [f"<p>{escape(_about(settings, len(cases)))}</p>"]
    body.append(f"<details><summary>How to read this</summary><p>{escape(HOW_TO_READ)}</p></details>")
    body.append(f"<section><h2>Over all cases</h2>{_table(_means(rows))}</section>")
    body.append("<section><h2>Case by case</h2>")
    for case in cases:
        body.append(_case(case, [row for row in rows if row.case == case], files[case]))
    body.append("</section>")
    footer = "All numbers: gates.csv and gates.json beside this page."
    write_text(folder / "index.html", page(title, "\n".join(body), footer))


def _about(settings: Mapping[str, Any], cases: int) -> str:
    mirrored = "with mirroring" if settings["mirroring"] else "without mirroring"
    return (
        f"{cases} case{'s' * (cases != 1)}, predicted as nnUNetv2_predict does, {mirrored}, steps of "
        f"{settings['step_size']:g} of a window. Model: {settings['model']}."
    )


def _means(rows: Sequence[GateRow]) -> list[GateRow]:
    """The means of each gate over the cases for which a number is there."""
    merged = []
    for gate in sorted({row.gate for row in rows}):
        same = [row for row in rows if row.gate == gate]
        names = list(dict.fromkeys(name for row in same for name in row.psi))
        psi = {name: _mean([row.psi.get(name) for row in same]) for name in names}
        zeros, unsupported = _mean([r.zeros for r in same]), _mean([r.unsupported for r in same])
        channels = [channel for row in same for channel in row.channels]
        merged.append(GateRow("", gate, same[0].stride, zeros, unsupported, psi, channels))
    return merged


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _case(case: str, rows: Sequence[GateRow], files: Mapping[str, Any]) -> str:
    about = f"{case}: image, psi of each gate and c of its channels"
    figure = quote(files["figure"])
    maps = ", ".join(f'<a href="{quote(path)}">{escape(Path(path).name)}</a>' for path in files["maps"])
    closed = "".join(_extremes(row) for row in rows if row.channels)
    return (
        f'<figure id="{escape(case)}"><h3>{escape(case)}</h3>'
        f'<div class="scroll" tabindex="0"><a href="{figure}"><img loading="lazy" src="{figure}" alt="{escape(about)}">'
        f"</a></div>{_smoothed(case, files.get('smoothed'))}"
        f"<details><summary>Numbers and maps</summary>{_table(rows)}"
        + (f"<ul>{closed}</ul>" if closed else "")
        + f"<p>Segmentation and maps, to lay over the image: {maps}.</p></details></figure>"
    )


def _smoothed(case: str, found: Smoothed | None) -> str:
    if found is None:
        return ""
    source, file = quote(found.figure), quote(found.file)
    return (
        f'<p>{escape(found.sentence)} <a href="{file}">{escape(found.file)}</a></p>'
        f'<div class="scroll" tabindex="0"><img loading="lazy" src="{source}" alt="{escape(case)} before and after '
        f'smoothing"></div>'
    )


def _extremes(row: GateRow) -> str:
    def named(channels: Any) -> str:
        return ", ".join(f"{c.fold + ':' if c.fold else ''}{c.channel} ({c.c:.2f})" for c in channels)

    return f"<li>{row.name}: most closed channels {named(row.most_closed)}; most open {named(row.most_open)}</li>"


def _table(rows: Sequence[GateRow]) -> str:
    masks = [m for m in ("prediction", "truth") if any(f"{m}_inside" in row.psi for row in rows)]
    head = ["gate", "stride", "zeros", "without support", "psi"]
    head += [f"psi {place}{'' if place == 'rim' else ' of'} {mask}" for mask in masks for place in PLACES]
    head = [text.replace("rim ", "at the rim of ") for text in head] + ["mean c"]
    lines = []
    for row in rows:
        cells = [row.stride, _percent(row.zeros), _percent(row.unsupported), _number(row.psi.get("all"))]
        cells += [_number(row.psi.get(f"{mask}_{place}")) for mask in masks for place in PLACES]
        lines.append((row.name, *cells, _number(row.c_mean)))
    return html_table(head, lines)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}{NO_BREAK}%"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
