"""cases.csv, summary.json and the tables that challengeR reads."""

import csv
import io
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_prosma import __version__
from nnunet_prosma.compare.analysis import Analysis
from nnunet_prosma.compare.empty import usable
from nnunet_prosma.compare.paired import PairedRow
from nnunet_prosma.compare.table import CaseTable, Metric
from nnunet_prosma.compare.verdict import caveat
from nnunet_prosma.files import write_json, write_text
from nnunet_prosma.statistics.sign_flip import FLIPS
from nnunet_prosma.statistics.studentised import LEVEL, RESAMPLES

MASKS = {(True, True): "both empty", (True, False): "only truth empty", (False, True): "only prediction empty"}


def write_tables(analysis: Analysis, output: Path) -> None:
    write_text(output / "cases.csv", cases_csv(analysis.table))
    for metric in analysis.table.metrics:
        write_text(output / "challengeR" / f"{metric.name}.csv", challenger_csv(analysis.table, metric))
    write_json(output / "summary.json", summary(analysis))


def cases_csv(table: CaseTable) -> str:
    """A line for each case, label and run: nnU-Net's numbers as they are, blank where a metric is not defined.

    A run that was trained several times has a line for each training, and then there is a column of its number.
    """
    single = table.single
    names = [(r, run, n) for r, run in enumerate(table.runs) for n in range(1, len(table.indices(r)) + 1)]
    numbered = table.trainings is not None
    metrics = [_column(m) for m in table.metrics]
    rows = [["case", "fold", "label", "run", *["training"] * numbered, *metrics, "n_ref", "n_pred", "masks"]]
    for c, case in enumerate(table.cases):
        for k, label in enumerate(table.labels):
            for r, run, number in names:
                index = table.indices(r)[number - 1]
                n_ref, n_pred = single.n_ref[c, k], single.n_pred[index, c, k]
                values = [_cell(single.values[m.name][index, c, k]) for m in table.metrics]
                masks = MASKS.get((n_ref == 0, n_pred == 0), "")
                name = [case, table.folds[c], label, run, *[str(number)] * numbered]
                rows.append([*name, *values, f"{n_ref:.0f}", f"{n_pred:.0f}", masks])
    return csv_text(rows)


def challenger_csv(table: CaseTable, metric: Metric) -> str:
    """challengeR's columns; the label is the task. NA where a value does not enter the statistics."""
    rows = [["task", "case", "alg_name", "value"]]
    values, counted = table.values[metric.name], usable(table, metric.name)
    for k, label in enumerate(table.labels):
        for c, case in enumerate(table.cases):
            for r, run in enumerate(table.runs):
                rows.append([label, case, run, _cell(values[r, c, k]) if counted[r, c, k] else "NA"])
    return csv_text(rows)


def summary(analysis: Analysis) -> dict[str, Any]:
    """All that the report shows but the cases, for a program to read."""
    table, loaded = analysis.table, analysis.loaded
    content = {
        "nnunet_prosma": __version__,
        "settings": {"bootstrap_resamples": RESAMPLES, "sign_flips": FLIPS, "level": LEVEL, **analysis.settings},
        "runs": [
            {"name": r.name, "folder": str(r.folder), "dataset": r.dataset, "configuration": r.configuration}
            for r in loaded.trainings or loaded.runs
        ],
        "folds": loaded.folds,
        "cases": len(table.cases),
        "unmeasured": loaded.unmeasured,
        "labels": table.labels,
        "clusters": None if table.clusters is None else dict(zip(table.cases, table.clusters, strict=True)),
        "findings": [asdict(f) for f in loaded.findings],
        "badges": {name: asdict(mark) for name, mark in analysis.badges.items()},
        "verdicts": {name: asdict(verdict) for name, verdict in analysis.verdicts.items()},
        "caveat": caveat(analysis.verdicts.values()),
        "empty_masks_of": table.single.runs,
        "empty_masks": [asdict(e) for e in analysis.empty],
        "nnunet_mean_dice": {name: nnunet_means(table.single, r) for r, name in enumerate(table.single.runs)},
        "nnunet_foreground_mean": {name: foreground_mean(table.single, r) for r, name in enumerate(table.single.runs)},
        "statistics": [row_summary(row) for row in analysis.rows],
        "cost": [asdict(c) for c in analysis.costs],
    }
    return _strict(content)


def row_summary(row: PairedRow) -> dict[str, Any]:
    return {
        "baseline": row.baseline,
        "candidate": row.candidate,
        "metric": row.metric.name,
        "unit": row.metric.unit,
        "label": row.label,
        "primary": row.primary,
        "role": row.role,
        "n": row.n,
        "left_out": row.left_out,
        "absent": row.absent,
        "missed": row.missed,
        "some_missed": row.some_missed,
        "clusters": row.clusters,
        "effect_size": row.effect_size,
        "baseline_values": asdict(row.by_run[0]) if row.by_run else None,
        "candidate_values": asdict(row.by_run[1]) if row.by_run else None,
        "mean_difference": row.mean_difference,
        "error": row.error,
        "mean_interval": asdict(row.mean_interval) if row.mean_interval else None,
        "median_difference": row.median_difference,
        "median_interval": asdict(row.median_interval) if row.median_interval else None,
        "p": row.test.p,
        "p_corrected": row.test.corrected,
        "no_test": row.test.reason,
        "wilcoxon": asdict(row.wilcoxon),
        "trainings": {"baseline": row.trainings[0], "candidate": row.trainings[1]},
        "crossed": asdict(row.crossed) if row.crossed else None,
        "wins": row.wins,
        "ties": row.ties,
        "losses": row.losses,
        "worse_by": row.metric.worse_by,
        "worse": row.worse,
        "folds": {fold: {"baseline": a, "candidate": b} for fold, (a, b) in row.folds.items()},
    }


def nnunet_means(table: CaseTable, run: int) -> dict[str, float | None]:
    """A training's means as nnU-Net takes them: a false alarm is 0, a case without truth and prediction is left out."""
    dice = table.values["dice"][run]
    return {
        label: float(np.nanmean(dice[:, k])) if np.isfinite(dice[:, k]).any() else None
        for k, label in enumerate(table.labels)
    }


def foreground_mean(table: CaseTable, run: int) -> float | None:
    """nnU-Net's foreground_mean, over all cases of these folds: the mean over labels of its means over cases."""
    known = [value for value in nnunet_means(table, run).values() if value is not None]
    return sum(known) / len(known) if known else None


def _column(metric: Metric) -> str:
    return f"{metric.name}_{'percent' if metric.unit == '%' else metric.unit}" if metric.unit else metric.name


def _cell(value: float) -> str:
    return repr(float(value)) if np.isfinite(value) else ""


def csv_text(rows: list[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _strict(content: Any) -> Any:
    """What is not a finite number becomes None, tuples become lists, numpy's numbers Python's."""
    if isinstance(content, dict):
        return {str(key): _strict(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_strict(value) for value in content]
    if isinstance(content, np.generic):
        content = content.item()
    return None if isinstance(content, float) and not math.isfinite(content) else content
