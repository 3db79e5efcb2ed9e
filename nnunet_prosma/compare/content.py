"""What the report says, section by section, in words and tables; report_html.py and report_md.py only set it."""

from collections.abc import Iterator

import numpy as np

from nnunet_prosma.compare.analysis import Analysis
from nnunet_prosma.compare.badge import ordered
from nnunet_prosma.compare.cost import cost_section
from nnunet_prosma.compare.levels import label_means, trainings
from nnunet_prosma.compare.options import DIAGONAL
from nnunet_prosma.compare.results import digits, results
from nnunet_prosma.compare.section import LONG, Section, Table
from nnunet_prosma.statistics.studentised import MINIMUM

MARKED = "Marked differences usually end a comparison. This one was made all the same, because --allow asked for it."
HOW_SLICES = (
    "Of each case the slice in which the two answers differ in most voxels, drawn as radiologists look at it: the "
    "patient's left (L) is on the right; A is front, P back, S head, I feet. Letters and turning need an image that "
    "knows its directions. Slices are counted from 1 along the axis that they are cut along, as ITK-SNAP counts them."
)


def how_slices(analysis: Analysis) -> str:
    first = " Of a run that was trained several times the first training is drawn; the numbers are means over all."
    return HOW_SLICES + (first if analysis.loaded.trainings else "")


def title(analysis: Analysis) -> str:
    run = analysis.loaded.runs[0]
    return f"{run.dataset}, {run.configuration}: {', '.join(analysis.table.runs[1:])} against {analysis.table.runs[0]}"


def sections(analysis: Analysis) -> Iterator[Section]:
    yield fairness(analysis)
    yield results(analysis)
    yield label_means(analysis)
    if analysis.table.repeated:
        yield trainings(analysis)
    yield empty_masks(analysis)
    if len(analysis.loaded.folds) > 1:
        yield folds(analysis)
    if any(cost.epochs or cost.parameters for cost in analysis.costs):
        yield cost_section(analysis.costs)
    yield Section("Case by case", plots=("scatter", "sorted", "distribution"))
    yield method(analysis)


def fairness(analysis: Analysis) -> Section:
    findings = ordered(analysis.loaded.findings)
    loaded = analysis.loaded
    folds = [[fold for t in loaded.trainings_of(r) for fold in t.folds.values()] for r in range(len(loaded.runs))]
    silent = [
        run.name
        for run, own in zip(loaded.runs, folds, strict=True)
        if not all("nnunet_version" in fold.debug for fold in own)
    ]
    told = any(f.kind == "origin" for f in findings)  # that nothing is known of how the predictions were made
    text = [f"The version of nnU-Net is not recorded for {', '.join(silent)}."] if silent and not told else []
    if not findings:
        text.insert(0, "Nothing that nnU-Net records about these runs differs but the trainer.")
    elif any(f.allowed for f in findings):
        text.insert(0, MARKED)
    return Section("Is it a fair comparison?", text, findings)


def empty_masks(analysis: Analysis) -> Section:
    shown = [e for e in analysis.empty if e.absent or any(e.misses)]
    rule = (
        "A case without a label in the ground truth is left out of that label's metrics for all runs; how often a run "
        "was rightly silent there or raised a false alarm is counted here. A missed label counts with Dice, IoU and "
        "normalised surface distance 0; its Hausdorff distance is not finite, so "
    )
    penalty = analysis.settings.get("hd95_of_a_miss") == DIAGONAL
    rule += "the image's diagonal stands for it." if penalty else "the pair is left out of it."
    rule += " Counted for each training." if analysis.table.trainings else ""
    if not shown:
        none = "No mask is empty: every label is present in every case and found by every run."
        return Section("Empty masks", [f"{none} {rule}"])
    header = (
        "label",
        "run",
        "present",
        "absent",
        "both empty",
        "only truth empty (false alarm)",
        "only prediction empty (miss)",
    )
    rows: list[tuple[str, ...]] = [
        (e.label, run, *(str(n) for n in (e.present, e.absent, e.both_empty[r], e.false_alarms[r], e.misses[r])))
        for e in shown
        for r, run in enumerate(analysis.table.single.runs)
    ]
    return Section(
        "Empty masks", [rule], tables=[Table("Cases by label and run", header, rows, folded=len(rows) > LONG)]
    )


def folds(analysis: Analysis) -> Section:
    rows: list[tuple[str, ...]] = []
    names = sorted({f for row in analysis.primaries for f in row.folds})
    for row in analysis.primaries:
        for which, run in ((0, row.baseline), (1, row.candidate)):
            if which == 0 and rows:
                continue
            means = [row.folds[f][which] for f in names if f in row.folds]
            shown = [digits(row.folds[f][which], row) if f in row.folds else "–" for f in names]
            sd = digits(float(np.std(means, ddof=1)), row) if len(means) > 1 else "–"
            rows.append((run, *shown, digits(float(np.mean(means)), row) if means else "–", sd))
    header = ("run", *(f"fold {f}" for f in names), "mean of folds", "SD of folds")
    primary = analysis.primaries[0]
    text = (
        f"Mean {primary.metric.title} ({primary.label}) in each fold. Folds share training cases, so they are not "
        f"independent: no test is made of them."
    )
    return Section("Folds", [text], tables=[Table("Means of each fold", header, rows)])


def method(analysis: Analysis) -> Section:
    drawn = (
        f"Intervals and signs are drawn with the seed {analysis.settings.get('seed')}. The signs are enumerated where "
        f"they are few (up to 14 cases that differ)."
    )
    text = [
        f"{'' if analysis.table.repeated else drawn} Fewer than {MINIMUM} cases get no interval. An interval of a "
        f"median is made of two of the ordered differences.".strip(),
    ]
    if tolerance := analysis.settings.get("tolerance"):
        text.append(
            f"Tolerance of the normalised surface distance: {tolerance}. Surface distances are computed by "
            f"surface-distance, weighted by area; the 95 % Hausdorff distance is the larger of both directions."
        )
    else:
        text.append("Surface metrics were not asked for (--no-images, --tables-only).")
    return Section("How to read this", text)
