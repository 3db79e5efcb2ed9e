"""The table of a study: the paper's numbers and the measured ones side by side, and how these were made."""

import csv
import io
import platform
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nnunet_prosma.errors import InputError
from nnunet_prosma.files import read_json, write_text
from nnunet_prosma.host.trained import Fold
from nnunet_prosma.statistics.overlap import POOLINGS, Score, scores_of
from nnunet_prosma.statistics.p_values import p_value
from nnunet_prosma.study.collected import counts
from nnunet_prosma.study.record import read_record
from nnunet_prosma.study.runs import Run
from nnunet_prosma.study.setting import Setting
from nnunet_prosma.study.spec import METRICS, Arm, Study

ALL_REPEATS = (
    " The rows of all repeats do tell that: there a method is its repeats together, and interval and p are Student's t "
    "over cases and trainings."
)
Scores = dict[str, dict[int, dict[str, Score]]]
"""Run's key -> label -> pooling -> Score."""


def write_table(
    setting: Setting,
    runs: Sequence[Run],
    finished: Sequence[Run],
    reports: Mapping[str, Path],
    *,
    command: str,
) -> tuple[Path, list[str]]:
    """Writes table.md and table.csv. The first, and a sentence on each case that is left out of them."""
    study, output = setting.study, setting.output
    scores, left_out = scores_of_runs(finished, setting)
    write_text(output / "table.csv", as_csv(finished, scores))
    parts = [
        f"# {study.title}",
        study.about.strip(),
        *results(study, finished, scores),
        *differences(study, reports),
        *unfinished(runs, finished, output),
        *unmeasured(left_out),
        *how(study, finished, command),
    ]
    write_text(output / "table.md", "\n\n".join(part for part in parts if part) + "\n")
    return output / "table.md", left_out


def scores_of_runs(runs: Sequence[Run], setting: Setting) -> tuple[Scores, list[str]]:
    """Batches follow the order of the split, as U-KAN's do. A case whose image cannot be read in one run is left out
    of all runs of that fold, which then have the same cases; a sentence says so."""
    counted = {run: counts(run, setting) for run in runs}
    wrong: dict[int, dict[str, str]] = {}
    for run, (_, problems) in counted.items():
        wrong.setdefault(run.fold, {}).update(problems)
    scores = {
        run.key: {
            label: scores_of([c for case, c in of_case.items() if case not in wrong[run.fold]])
            for label, of_case in of_label.items()
        }
        for run, (of_label, _) in counted.items()
    }
    return scores, [f"fold {fold}, {why}" for fold, of_case in wrong.items() for why in dict.fromkeys(of_case.values())]


def unmeasured(left_out: Sequence[str]) -> Iterator[str]:
    if left_out:
        listed = "\n".join(f"- {' '.join(sentence.split())}" for sentence in left_out)
        yield f"Cases that cannot be measured, left out of every method ({len(left_out)}):\n\n{listed}"


def results(study: Study, finished: Sequence[Run], scores: Scores) -> Iterator[str]:
    measured = [f"{metric} {pooling}" for pooling in ("batch", "image", "data set") for metric in METRICS]
    header = ["method", *(f"{metric} published" for metric in METRICS), *measured, "folds"]
    lines = [header, ["---"] * len(header)]
    for arm in study.arms:
        own = [run for run in finished if run.arm == arm]
        cells = [str((arm.published or {}).get(metric, "–")) for metric in METRICS]
        for pooling in ("batch", "image", "dataset"):
            for name in ("iou", "f1"):
                of_label = {run: scores[run.key].get(study.label, {}).get(pooling) for run in own}
                known = {run: getattr(score, name) for run, score in of_label.items() if score is not None}
                cells.append(mean_and_deviation({run: 100 * v for run, v in known.items() if v is not None}, study))
        folds = ", ".join(str(fold) for fold in study.folds if any(run.fold == fold for run in own)) or "–"
        lines.append([arm.row, *cells, folds if study.repeats is None else f"{folds}: {len(own)} trainings"])
    yield "\n".join(f"| {' | '.join(line)} |" for line in lines)
    meaning = "mean ± SD over the folds"
    if study.repeats is not None:
        meaning = (
            "mean ± SD over the folds, each the mean of its repeats; in brackets ± SD over the repeats that have all "
            "folds, each the mean of these"
        )
    yield (
        f"In percent, {meaning}. Measured: pooled over each batch of 8 as in U-KAN's protocol, averaged per image, and "
        "pooled over the data set."
    )


def mean_and_deviation(values: Mapping[Run, float], study: Study) -> str:
    if not values:
        return "–"
    of_fold = [[v for run, v in values.items() if run.fold == fold] for fold in study.folds]
    folds = [statistics.mean(of) for of in of_fold if of]
    text = f"{statistics.mean(folds):.2f}{deviation(folds)}"
    if study.repeats is None:
        return text
    of_repeat = [[v for run, v in values.items() if run.repeat == r] for r in range(1, study.repeats + 1)]
    repeats = [statistics.mean(of) for of in of_repeat if len(of) == len(study.folds)]
    return f"{text} ({deviation(repeats).strip()})" if len(repeats) > 1 else text


def deviation(values: Sequence[float]) -> str:
    return f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""


def differences(study: Study, reports: Mapping[str, Path]) -> Iterator[str]:
    """Rows from each report's summary.json: the primary row of each arm but the first."""
    rows, open_ones = [], []
    for name, report in reports.items():
        summary = read_json(report / "summary.json")
        if all(verdict["outcome"] == "no conclusion" for verdict in summary["verdicts"].values()):
            open_ones.append(name)
        primary = [row for row in summary["statistics"] if row["primary"]]
        for arm, row in zip(study.arms[1:], primary, strict=True):
            rows.append([name, arm.row, *difference(row)])
    if not rows:
        return
    header = ["cases of", "method", "n", "per-image Dice minus that of " + study.arms[0].row, "95 % interval", "p"]
    yield "\n".join(f"| {' | '.join(line)} |" for line in [header, ["---"] * len(header), *rows])
    yield (
        "In percentage points, with the studentised bootstrap interval over the cases and the sign-flip test's p, both "
        "corrected over the methods, of nnunet-prosma compare: "
        + ", ".join(
            f"[{name}]({report.relative_to(report.parent.parent)}/report.html)" for name, report in reports.items()
        )
        + ". It tells what the choice of cases leaves open, not what another training would bring."
        + ALL_REPEATS * any(name.startswith("all repeats") for name in reports)
    )
    if open_ones:
        yield f"Too few cases for a conclusion: {', '.join(open_ones)}. Their numbers describe, and no more."


def difference(row: Mapping[str, Any]) -> list[str]:
    interval = row["mean_interval"]
    shown = f"{100 * interval['low']:+.2f} to {100 * interval['high']:+.2f}" if interval else "–"
    value = row["mean_difference"]
    return [
        str(row["n"]),
        "–" if value is None else f"{100 * value:+.2f}",
        shown,
        p_value(row["p_corrected"]),
    ]


def unfinished(runs: Sequence[Run], finished: Sequence[Run], output: Path) -> Iterator[str]:
    there = {run.key for run in finished}
    missing = [run for run in runs if run.key not in there]
    if missing:
        lines = []
        for run in missing:
            why = read_record(output, run.key).why
            lines.append(f"- {run.title}" + (f": {' '.join(why.split())}" if why else ""))
        yield f"Not finished, so not in the table ({len(missing)} of {len(runs)}):\n\n" + "\n".join(lines)


def how(study: Study, finished: Sequence[Run], command: str) -> Iterator[str]:
    from importlib.metadata import version

    yield f"Made by `{command}`, the {study.checkpoint} checkpoint of each training validated."
    lines = [["method", "trainer", "plans", "epochs x iterations", "batch", "s per epoch", "device"]]
    lines.append(["---"] * len(lines[0]))
    surroundings = set()
    for arm in study.arms:
        folds = [Fold(run.folder) for run in finished if run.arm == arm]
        if not folds:
            continue
        debug = noted_in(folds[0])
        seconds = [f.log.seconds_per_epoch for f in folds if f.log.seconds_per_epoch is not None]
        device = debug.get("gpu_name", debug.get("device", "?"))
        surroundings |= {noted_in(f).get("torch_version", "?") for f in folds}
        schedule = f"{debug.get('num_epochs', '?')} x {debug.get('num_iterations_per_epoch', '?')}"
        lines.append(
            [arm.row, arm.trainer, arm.plans, schedule, debug.get("batch_size", "?"), _median(seconds), device]
        )
    yield "\n".join(f"| {' | '.join(line)} |" for line in lines)
    yield (
        f"nnunet-prosma {version('nnunet-prosma')}, nnunetv2 {version('nnunetv2')}, torch {', '.join(surroundings)}, "
        f"Python {platform.python_version()}, {platform.platform(terse=True)}. nnU-Net sets no seeds, and draws its "
        "batches in several processes: the same training comes out differently each time. runs/ has the "
        "seed of the first weights."
    )


def noted_in(fold: Fold) -> dict[str, str]:
    """What nnU-Net noted in debug.json; nothing where that is cut off, so that the table has question marks."""
    try:
        return fold.debug
    except InputError:
        return {}


def _median(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.1f}" if values else "–"


def as_csv(finished: Sequence[Run], scores: Scores) -> str:
    """A line for each run, label and pooling."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(
        ["method", "trainer", "plans", "fold", "repeat", "label", "pooling", "iou", "f1", "images", "left_out"]
    )
    for run in finished:
        arm: Arm = run.arm
        for label, of_label in scores[run.key].items():
            for pooling in POOLINGS:
                s = of_label[pooling]
                of_run = [arm.row, arm.trainer, arm.plans, run.fold, run.repeat, label]
                rows.writerow([*of_run, pooling, s.iou, s.f1, s.images, s.left_out])
    return text.getvalue()
