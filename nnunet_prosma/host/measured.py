"""Segmentations measured by nnU-Net's own function, where no summary.json tells its numbers."""

import multiprocessing
from pathlib import Path
from typing import Any

from nnunet_prosma.errors import InputError
from nnunet_prosma.host.dataset_json import Dataset
from nnunet_prosma.host.schema import Measured
from nnunet_prosma.host.summaries import ValidatedCase


def measure(folder: Path, truth: Path, described: Dataset, processes: int) -> list[ValidatedCase]:
    """By nnU-Net's own function, case by case, as nnUNetv2_evaluate_folder does it."""
    from nnunetv2.evaluation.evaluate_predictions import compute_metrics

    names = sorted(path.name for path in folder.iterdir() if path.name.endswith(described.file_ending))
    reader, keys = reader_for(described, truth / names[0]), list(described.labels)
    tasks = [(str(truth / n), str(folder / n), reader, keys, described.ignore_label) for n in names]
    try:
        if processes == 1:
            found = [compute_metrics(*task) for task in tasks]
        else:
            with multiprocessing.get_context("spawn").Pool(processes) as pool:
                found = pool.starmap(compute_metrics, tasks)
    except (RuntimeError, ValueError, IndexError, OSError, AssertionError) as error:
        raise InputError(
            f"{folder} cannot be measured against {truth} ({' '.join(str(error).split())[:200]}): each prediction "
            f"must be readable, and have the size of its truth"
        ) from None
    return [
        ValidatedCase(
            folder / name,
            truth / name,
            {
                key: Measured(float(v["Dice"]), float(v["IoU"]), float(v["n_ref"]), float(v["n_pred"]))
                for key, v in case["metrics"].items()
            },
        )
        for name, case in zip(names, found, strict=True)
    ]


def reader_for(described: Dataset, example: Path) -> Any:
    """nnU-Net's reader for these files."""
    from nnunetv2.imageio.reader_writer_registry import determine_reader_writer_from_dataset_json

    try:
        return determine_reader_writer_from_dataset_json(
            described.content, str(example) if example.is_file() else None, verbose=False
        )()
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"{described.source}: nnU-Net has no reader for {described.file_ending} ({error})") from None
