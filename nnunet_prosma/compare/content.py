"""What the report says, section by section, in words and tables; report_html.py and report_md.py only set it."""

from collections.abc import Iterator

import numpy as np

from nnunet_prosma.compare.analysis import Analysis
from nnunet_prosma.compare.results import digits, results
from nnunet_prosma.compare.section import LONG, Section, Table
from nnunet_prosma.statistics.studentised import MINIMUM


def title(analysis: Analysis) -> str:
    run = analysis.loaded.runs[0]
    return f"{run.dataset}, {run.configuration}: {', '.join(analysis.table.runs[1:])} against {analysis.table.runs[0]}"


def sections(analysis: Analysis) -> Iterator[Section]:
    yield fairness(analysis)
    yield results(analysis)
    yield empty_masks(analysis)
    yield folds(analysis)
    yield costs(analysis)
    yield Section("Case by case", plots=("scatter", "sorted", "distribution"))
    yield method(analysis)


def fairness(analysis: Analysis) -> Section:
    findings = sorted(analysis.loaded.findings, key=lambda f: not f.allowed)
    silent = [r.name for r in analysis.loaded.runs if not all("nnunet_version" in f.debug for f in r.folds.values())]
    text = [f"The version of nnU-Net is not recorded for {', '.join(silent)}."] if silent else []
    if not findings:
        text.insert(0, "Nothing that nnU-Net records about these runs differs but the trainer.")
    elif any(f.allowed for f in findings):
        text.insert(0, "Marked differences make a comparison meaningless; they were allowed on request.")
    return Section("Is it a fair comparison?", text, findings)


def empty_masks(analysis: Analysis) -> Section:
    shown = [e for e in analysis.empty if e.absent or any(e.misses)]
    rule = (
        "A case without a label in the ground truth is left out of that label's metrics for all runs; how often a run "
        "was rightly silent there or raised a false alarm is counted here. A missed label counts with Dice, IoU and "
        "normalised surface distance 0; its Hausdorff distance is not finite, so the pair is left out of it."
    )
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
        for r, run in enumerate(analysis.table.runs)
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


def costs(analysis: Analysis) -> Section:
    header = ("run", "parameters", "time per epoch", "epochs", "peak memory", "device")
    first = analysis.costs[0]
    rows: list[tuple[str, ...]] = [
        (
            c.run,
            f"{c.parameters:,}{_ratio(c.parameters, first.parameters)}" if c.parameters else "not readable",
            f"{c.seconds_per_epoch:.1f} s{_ratio(c.seconds_per_epoch, first.seconds_per_epoch)}"
            if c.seconds_per_epoch
            else "not in the logs",
            str(c.epochs or "not in the logs"),
            f"{c.peak_memory_gib:.1f} GiB" if c.peak_memory_gib else "not recorded",
            c.gpu or "not recorded",
        )
        for c in analysis.costs
    ]
    text = "Time per epoch is the median over epochs and folds in the training logs, on the machine of the training."
    return Section("Cost beside benefit", [text], tables=[Table("Cost", header, rows)], plots=("curve",))


def _ratio(value: float | None, first: float | None) -> str:
    if not value or not first or value == first:
        return ""
    return f" ({100 * (value / first - 1):+.1f} %)"


def method(analysis: Analysis) -> Section:
    text = [
        f"Intervals and signs are drawn with the seed {analysis.settings.get('seed')}; fewer than {MINIMUM} cases get "
        f"no interval. The signs are enumerated where they are few (up to 14 cases that differ). An interval of a "
        f"median is made of two of the ordered differences.",
    ]
    if tolerance := analysis.settings.get("tolerance"):
        text.append(
            f"Tolerance of the normalised surface distance: {tolerance}. Surface distances are computed by "
            f"surface-distance, weighted by area; the 95 % Hausdorff distance is the larger of both directions."
        )
    else:
        text.append("Surface metrics were not asked for (--no-images, --tables-only).")
    return Section("How to read this", text)
