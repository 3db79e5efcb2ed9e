"""Surface metrics of every case and run: read, measure, keep. One case at a time in each worker."""

import contextlib
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_prosma.compare.cache import Cache, fingerprint
from nnunet_prosma.compare.surfaces import diagonal, drop_flat_axis, surface_metrics
from nnunet_prosma.host.images import read_segmentation
from nnunet_prosma.host.labels import LabelKey
from nnunet_prosma.host.segmentations import check_geometry
from nnunet_prosma.host.workers import pool
from nnunet_prosma.progress import progress_bar

Measured = dict[str, dict[str, float]]
"""Label (as nnU-Net writes it) -> dice, n_ref, n_pred, nsd, hd95, and the image's diagonal."""


NAMES = ("dice", "n_ref", "n_pred", "nsd", "hd95", "diagonal")


@dataclass(frozen=True)
class Task:
    """One prediction against its truth. key: changes with anything that the result depends on."""

    run: int
    case: str
    truth: Path
    prediction: Path
    reader: Any
    tolerances: Mapping[LabelKey, float]
    ignore_label: int | None

    @property
    def key(self) -> str:
        tolerances = {str(k): v for k, v in self.tolerances.items()}
        return fingerprint([self.truth, self.prediction], type(self.reader).__name__, tolerances, self.ignore_label)


@dataclass(frozen=True)
class Outcome:
    """What came of a task: what was measured, or in one sentence what stood in the way."""

    key: str
    measured: Measured | None
    problem: str | None


def measure_all(tasks: Sequence[Task], cache: Cache, workers: int) -> dict[tuple[int, str], Outcome]:
    """(run, case) -> Outcome. What the cache knows is not measured again; what is new is kept at once."""
    outcomes: dict[tuple[int, str], Outcome] = {}
    pending: list[Task] = []
    for task in tasks:
        missing = next((p for p in (task.truth, task.prediction) if not p.is_file()), None)
        if missing is not None:
            outcomes[task.run, task.case] = Outcome("", None, f"{missing} is missing")
        elif is_of(known := cache.get(key := task.key), task):
            outcomes[task.run, task.case] = Outcome(key, known, None)
        else:
            pending.append(task)
    progress = progress_bar(total=len(pending), desc="surfaces", unit="case", disable=not pending)
    with progress, contextlib.closing(_outcomes(pending, workers)) as finished:
        for task, outcome in finished:
            if outcome.measured is not None:
                cache.put(outcome.key, outcome.measured)
            outcomes[task.run, task.case] = outcome
            progress.update()
    return outcomes


def is_of(known: Any, task: Task) -> bool:
    """Whether this, of a file that may be damaged, is what was measured of a task."""
    return (
        isinstance(known, dict)
        and set(known) == set(map(str, task.tolerances))
        and all(isinstance(of_label, dict) and set(of_label) == set(NAMES) for of_label in known.values())
        and all(type(value) in (int, float) for of_label in known.values() for value in of_label.values())
    )


def _outcomes(tasks: Sequence[Task], workers: int) -> Generator[tuple[Task, Outcome], None, None]:
    if workers <= 1 or len(tasks) <= 1:
        yield from map(_measured, tasks)
        return
    with pool(min(workers, len(tasks)), "; what was measured is kept") as executor:
        for future in as_completed([executor.submit(_measured, task) for task in tasks]):
            yield future.result()


def _measured(task: Task) -> tuple[Task, Outcome]:
    """What a worker measured: a problem of one case must not end the others."""
    try:
        return task, Outcome(task.key, measure(task), None)
    except MemoryError:
        return task, Outcome("", None, "there is not enough memory for it: use a smaller -np")
    except Exception as error:  # whatever a damaged file makes a reader raise
        reason = " ".join(str(error).split()) or type(error).__name__
        return task, Outcome("", None, reason)


def measure(task: Task) -> Measured:
    """Measures one prediction: reads with nnU-Net's reader, counts voxels, measures surfaces.

    nnU-Net's own counting functions would bring torch, some 600 MB, into every worker. That the counts are nnU-Net's is
    checked in every comparison: a case whose counts differ from summary.json is reported as stale.
    """
    (truth, geometry), (prediction, other) = (read_segmentation(task.reader, p) for p in (task.truth, task.prediction))
    check_geometry(truth.shape, geometry, prediction.shape, other)
    truth, spacing = drop_flat_axis(truth[0], geometry["spacing"])
    prediction, _ = drop_flat_axis(prediction[0], geometry["spacing"])
    ignored = truth == task.ignore_label if task.ignore_label is not None else None
    measured: Measured = {}
    for label, tolerance in task.tolerances.items():
        a, b = np.isin(truth, label), np.isin(prediction, label)
        if ignored is not None:
            a, b = a & ~ignored, b & ~ignored
        n_ref, n_pred, common = int(a.sum()), int(b.sum()), int((a & b).sum())
        nsd, hd95 = surface_metrics(a, b, spacing, tolerance)
        dice = 2 * common / (n_ref + n_pred) if n_ref + n_pred else float("nan")
        values = (dice, n_ref, n_pred, nsd, hd95, diagonal(truth.shape, spacing))
        measured[str(label)] = dict(zip(NAMES, values, strict=True))
    return measured
