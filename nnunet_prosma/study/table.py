"""The table of a study: the paper's numbers and the measured ones side by side, and how these were made."""

import csv
import io
import platform
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nnunet_prosma.files import read_json, write_text
from nnunet_prosma.metrics import POOLINGS, Score, cases_of_fold, count_folder, scores_of
from nnunet_prosma.study.runs import Run
from nnunet_prosma.study.spec import METRICS, Arm, Study

Scores = dict[str, dict[int, dict[str, Score]]]
"""Run's key -> label -> pooling -> Score."""


def write_table(
    study: Study,
    runs: Sequence[Run],
    finished: Sequence[Run],
    reports: Mapping[str, Path],
    preprocessed: Path,
    output: Path,
    *,
    command: str,
    record: Mapping[str, Any],
) -> Path:
    """Writes table.md and table.csv, and returns the first."""
    scores = {run.key: scores_of_run(run, preprocessed) for run in finished}
    write_text(output / "table.csv", as_csv(finished, scores))
    parts = [
        f"# {study.title}",
        study.about.strip(),
        *results(study, finished, scores),
        *differences(study, reports),
        *unfinished(runs, finished),
        *how(study, finished, command, record),
    ]
    write_text(output / "table.md", "\n\n".join(part for part in parts if part) + "\n")
    return output / "table.md"


def scores_of_run(run: Run, preprocessed: Path) -> dict[int, dict[str, Score]]:
    """Batches follow the order of the split, as U-KAN's do."""
    splits = preprocessed / "splits_final.json"
    cases = cases_of_fold(splits, run.fold)
    counted = count_folder(run.folder / "validation", preprocessed / "gt_segmentations", cases)
    return {label: scores_of(list(of_case.values())) for label, of_case in counted.items()}


def results(study: Study, finished: Sequence[Run], scores: Scores) -> Iterator[str]:
    measured = [f"{metric} {pooling}" for pooling in ("batch", "image", "data set") for metric in METRICS]
    header = ["method", *(f"{metric} published" for metric in METRICS), *measured, "folds"]
    lines = [header, ["---"] * len(header)]
    for arm in study.arms:
        own = [run for run in finished if run.arm == arm]
        cells = [str((arm.published or {}).get(metric, "–")) for metric in METRICS]
        for pooling in ("batch", "image", "dataset"):
            of_fold = [scores[run.key].get(study.label, {}).get(pooling) for run in own]
            for name in ("iou", "f1"):
                cells.append(mean_sd([getattr(score, name) for score in of_fold if score is not None]))
        lines.append([arm.row, *cells, ", ".join(str(run.fold) for run in own) or "–"])
    yield "\n".join(f"| {' | '.join(line)} |" for line in lines)
    yield (
        "In percent, mean ± SD over the folds. Measured: pooled over each batch of 8 as in U-KAN's protocol, averaged "
        "per image, and pooled over the data set."
    )


def mean_sd(values: Sequence[float | None]) -> str:
    known = [100 * v for v in values if v is not None]
    if not known:
        return "–"
    spread = f" ± {statistics.stdev(known):.2f}" if len(known) > 1 else ""
    return f"{statistics.mean(known):.2f}{spread}"


def differences(study: Study, reports: Mapping[str, Path]) -> Iterator[str]:
    """From each report's summary.json: the primary row of each arm but the first."""
    rows = []
    for name, report in reports.items():
        summary = read_json(report / "summary.json")
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
    )


def difference(row: Mapping[str, Any]) -> list[str]:
    interval = row["mean_interval"]
    shown = f"{100 * interval['low']:+.2f} to {100 * interval['high']:+.2f}" if interval else "–"
    value = row["mean_difference"]
    p = row["p_corrected"]
    return [
        str(row["n"]),
        "–" if value is None else f"{100 * value:+.2f}",
        shown,
        "–" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}",
    ]


def unfinished(runs: Sequence[Run], finished: Sequence[Run]) -> Iterator[str]:
    missing = [f"{run.arm.row} (fold {run.fold})" for run in runs if run not in finished]
    if missing:
        yield f"Not finished, so not in the table: {', '.join(missing)}."


def how(study: Study, finished: Sequence[Run], command: str, record: Mapping[str, Any]) -> Iterator[str]:
    from importlib.metadata import version

    from nnunet_prosma.host.trained import Fold

    yield f"Made by `{command}`, the {study.checkpoint} checkpoint of each training validated."
    lines = [["method", "trainer", "plans", "epochs x iterations", "batch", "s per epoch", "device"]]
    lines.append(["---"] * len(lines[0]))
    surroundings = set()
    for arm in study.arms:
        folds = [Fold(run.folder) for run in finished if run.arm == arm]
        if not folds:
            continue
        debug = folds[0].debug
        seconds = [f.log.seconds_per_epoch for f in folds if f.log.seconds_per_epoch is not None]
        device = debug.get("gpu_name", debug.get("device", "?"))
        surroundings |= {f.debug.get("torch_version", "?") for f in folds}
        schedule = f"{debug.get('num_epochs', '?')} x {debug.get('num_iterations_per_epoch', '?')}"
        lines.append(
            [arm.row, arm.trainer, arm.plans, schedule, debug.get("batch_size", "?"), _median(seconds), device]
        )
    yield "\n".join(f"| {' | '.join(line)} |" for line in lines)
    yield (
        f"nnunet-prosma {version('nnunet-prosma')}, nnunetv2 {version('nnunetv2')}, torch {', '.join(surroundings)}, "
        f"Python {platform.python_version()}, {platform.platform(terse=True)}."
    )


def _median(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.1f}" if values else "–"


def as_csv(finished: Sequence[Run], scores: Scores) -> str:
    """A line for each run, label and pooling."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["method", "trainer", "plans", "fold", "label", "pooling", "iou", "f1", "images", "left_out"])
    for run in finished:
        arm: Arm = run.arm
        for label, of_label in scores[run.key].items():
            for pooling in POOLINGS:
                s = of_label[pooling]
                rows.writerow(
                    [arm.row, arm.trainer, arm.plans, run.fold, label, pooling, s.iou, s.f1, s.images, s.left_out]
                )
    return text.getvalue()
