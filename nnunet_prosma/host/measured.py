"""Segmentations measured by nnU-Net's own function, where no summary.json tells its numbers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_prosma.errors import InputError
from nnunet_prosma.host.dataset_json import Dataset
from nnunet_prosma.host.labels import LabelKey
from nnunet_prosma.host.schema import Measured
from nnunet_prosma.host.segmentations import read_pair
from nnunet_prosma.host.summaries import ValidatedCase
from nnunet_prosma.host.whole import is_whole
from nnunet_prosma.host.workers import pool


def measure(
    folder: Path, truth: Path, described: Dataset, processes: int
) -> tuple[list[ValidatedCase], dict[Path, str]]:
    """Each case measured by nnU-Net's own function, as nnUNetv2_evaluate_folder does it; and why some could not be."""
    names = sorted(path.name for path in folder.iterdir() if path.name.endswith(described.file_ending))
    reader, keys = reader_for(described, *(truth / name for name in names)), list(described.labels)
    tasks = [(reader, folder / n, truth / n, keys, described.ignore_label) for n in names]
    if processes == 1:
        found = [_measured(*task) for task in tasks]
    else:
        with pool(processes) as executor:
            found = list(executor.map(_measured, *zip(*tasks, strict=True)))
    pairs = list(zip(names, found, strict=True))
    cases = [ValidatedCase(folder / n, truth / n, values) for n, values in pairs if not isinstance(values, str)]
    return cases, {folder / n: why for n, why in pairs if isinstance(why, str)}


def _measured(
    reader: Any, prediction: Path, truth: Path, keys: list[LabelKey], ignored: int | None
) -> dict[LabelKey, Measured] | str:
    """What a worker tells of a case: the values, or what is wrong with the files."""
    from nnunetv2.evaluation.evaluate_predictions import compute_metrics

    try:
        a, b = read_pair(reader, prediction, truth)
        known = _Read({str(prediction): a, str(truth): b})
        found = compute_metrics(str(truth), str(prediction), known, keys, ignored)["metrics"]
    except MemoryError:
        return f"there is not enough memory for {prediction}: use a smaller -np"
    except InputError as error:
        return str(error)
    return {
        k: Measured(float(v["Dice"]), float(v["IoU"]), float(v["n_ref"]), float(v["n_pred"])) for k, v in found.items()
    }


@dataclass(frozen=True)
class _Read:
    """What was read and checked already, where nnU-Net asks a reader."""

    arrays: dict[str, np.ndarray]

    def read_seg(self, file: str) -> tuple[np.ndarray, dict[str, Any]]:
        return self.arrays[file], {}


def reader_for(described: Dataset, *examples: Path) -> Any:
    """nnU-Net's reader for these files; nnU-Net tries its readers with one of them, here the first that is whole."""
    from nnunetv2.imageio.reader_writer_registry import determine_reader_writer_from_dataset_json

    example = next((str(file) for file in examples if is_whole(file)), None)
    try:
        return determine_reader_writer_from_dataset_json(described.content, example, verbose=False)()
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"{described.source}: nnU-Net has no reader for {described.file_ending} ({error})") from None
