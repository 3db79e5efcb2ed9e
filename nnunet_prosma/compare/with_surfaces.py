"""Brings the surface metrics into a table: finds the files, measures, checks them against nnU-Net's numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_prosma.compare.analysis import Loaded
from nnunet_prosma.compare.cache import Cache
from nnunet_prosma.compare.fairness import Finding, judge, some
from nnunet_prosma.compare.measure import Outcome, Task, measure_all
from nnunet_prosma.compare.options import DIAGONAL, LEFT_OUT
from nnunet_prosma.compare.predictions import Predictions
from nnunet_prosma.compare.table import known_metrics
from nnunet_prosma.compare.unmeasured import without
from nnunet_prosma.errors import InputError
from nnunet_prosma.host.datasets import optional_folder
from nnunet_prosma.host.labels import LabelKey
from nnunet_prosma.host.trained import TrainedFolder


def reader_of(run: TrainedFolder) -> Any:
    """nnU-Net's reader for the files of this run."""
    return run.reader()


def with_surfaces(
    loaded: Loaded,
    tolerances: Mapping[LabelKey, float],
    cache: Path,
    workers: int,
    allowed: Sequence[str],
    miss: str = LEFT_OUT,
) -> Loaded:
    """The analysis with nsd and hd95 in the table, and in the findings what the files show. What was measured is kept.

    miss: what a missed label's Hausdorff distance is, which is not finite: left out, or the image's diagonal.
    """
    table = loaded.table
    wanted = {key: tolerances[key] for key in table.keys}
    readers = [reader_of(run) for run in loaded.runs]
    tasks = [
        Task(r, name, find_truth(run, cases[name].truth), cases[name].prediction, readers[r], wanted, run.ignore_label)
        for name in table.cases
        for r, (run, cases) in enumerate(zip(loaded.runs, loaded.cases, strict=True))
    ]
    outcomes = measure_all(tasks, Cache(cache), workers)
    if problems := [(task, p) for task in tasks if (p := outcomes[task.run, task.case].problem)]:
        loaded = without(loaded, _by_case(loaded, problems))
        if not loaded.table.cases:
            raise InputError(_sentence(loaded, problems, len(tasks)))
        table = loaded.table
    shape = (len(loaded.runs), len(table.cases), len(table.keys))

    def measured(name: str) -> np.ndarray:
        runs = range(len(loaded.runs))
        found = [[[_value(outcomes[r, c], k, name) for k in table.keys] for c in table.cases] for r in runs]
        return np.array(found, dtype=float).reshape(shape)

    values = table.values | {name: measured(name) for name in ("nsd", "hd95")}
    if miss == DIAGONAL:
        missed = (table.n_ref > 0) & (table.n_pred == 0)
        values["hd95"] = np.where(missed, measured("diagonal"), values["hd95"])
    known = known_metrics(loaded.runs[0].unit)
    metrics = [*table.metrics[:2], known["nsd"], known["hd95"], *table.metrics[2:]]
    stale = []
    for r, run in enumerate(loaded.runs):
        if changed := [c for i, c in enumerate(table.cases) if _is_stale(outcomes[r, c], loaded, r, i)]:
            stale.append(_stale(run, changed))
    findings = [*loaded.findings, *judge(stale, allowed)]
    return replace(loaded, table=replace(table, values=values, metrics=metrics), findings=findings)


def find_truth(run: TrainedFolder, recorded: Path) -> Path:
    """The truth where nnU-Net read it; else, as when folders were moved, nnU-Net's own folders of today."""
    places = [recorded]
    if preprocessed := optional_folder("nnUNet_preprocessed"):
        places.append(preprocessed / run.dataset / "gt_segmentations" / recorded.name)
    if raw := optional_folder("nnUNet_raw"):
        places.append(raw / run.dataset / "labelsTr" / recorded.name)
    return next((place for place in places if place.is_file()), recorded)


def _value(outcome: Outcome, key: LabelKey, name: str) -> float:
    assert outcome.measured is not None
    return outcome.measured[str(key)][name]


def _is_stale(outcome: Outcome, loaded: Loaded, run: int, case: int) -> bool:
    """Whether the files give other counts than nnU-Net's summary.json."""
    summary = loaded.cases[run][loaded.table.cases[case]].values
    for key in loaded.table.keys:
        dice, _, n_ref, n_pred = summary[key]
        if _value(outcome, key, "n_ref") != n_ref or _value(outcome, key, "n_pred") != n_pred:
            return True
        if not np.isclose(_value(outcome, key, "dice"), dice, rtol=0, atol=1e-6, equal_nan=True):
            return True
    return False


def _stale(run: TrainedFolder, cases: list[str]) -> Finding:
    return Finding(
        "stale",
        f"{some(cases).capitalize()} of {run.name} changed since nnU-Net measured: the files give other numbers than "
        f"validation/summary.json; validate again with nnUNetv2_train --val.",
        error=True,
    )


def _by_case(loaded: Loaded, problems: list[tuple[Task, str]]) -> dict[str, str]:
    """Why each of these cases cannot be measured, in one sentence."""
    found: dict[str, list[str]] = {}
    for task, problem in problems:
        found.setdefault(task.case, []).append(f"{problem} ({loaded.runs[task.run].name})")
    return {case: "; ".join(of_case) for case, of_case in found.items()}


def _sentence(loaded: Loaded, problems: list[tuple[Task, str]], total: int) -> str:
    predicted = isinstance(loaded.runs[0], Predictions)
    lines = [f"{loaded.runs[t.run].name}, case {t.case}: {problem}" for t, problem in problems[:5]]
    rest = [f"and {len(problems) - 5} more"] if len(problems) > 5 else []
    return "\n".join(
        [
            f"{len(problems)} of {total} predictions cannot be measured:",
            *lines,
            *rest,
            *["Where the ground truth was moved, name it with --truth."] * predicted,
            "What was measured is kept; --no-images compares nnU-Net's own numbers without reading the files",
        ]
    )
