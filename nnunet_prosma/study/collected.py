"""What a finished training is without its checkpoints, in OUT/collected, laid out as nnU-Net's results are.

Per-case metrics, the lines of the logs that tell curves and times, the gates' record, settings and versions. Such a run
counts as done in a study whose settings are the same, so that a study goes on on another machine.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from nnunet_prosma.errors import InputError
from nnunet_prosma.files import folder_made_whole, read_json, write_json, write_text
from nnunet_prosma.host.dataset_json import Dataset
from nnunet_prosma.host.datasets import planned_setup
from nnunet_prosma.host.marks import SUMMARY
from nnunet_prosma.host.preprocessing import data_settings
from nnunet_prosma.host.splits import read_splits
from nnunet_prosma.host.summaries import read_summary
from nnunet_prosma.statistics.overlap import Count, count_readable
from nnunet_prosma.study.prepare import splits_of
from nnunet_prosma.study.record import read_record
from nnunet_prosma.study.runs import Run
from nnunet_prosma.study.setting import Setting

FILE = "collected.json"
KEPT = ("gates.csv", "debug.json", "checkpoints.json")
"""Files of a fold_X that are kept as they are."""
TELLING = re.compile(
    r": (Epoch \d+ *$|train_loss |val_loss |Pseudo dice |Epoch time: |nnunet-prosma|This split has )|eak .*memory"
)
"""Lines of nnU-Net's log that are kept: all that host/training_log.py reads, and what we wrote."""


def place_of(run: Run, output: Path) -> Path:
    """The fold_X of a collected run."""
    repeat = [] if run.repeat is None else [f"repeat_{run.repeat}"]
    return output.joinpath("collected", *repeat, *run.folder.parts[-3:])


def collect(runs: Sequence[Run], setting: Setting, to: Path) -> tuple[list[Run], list[str]]:
    """Adds these finished runs to what is collected there; what is there already of another is left alone.

    The runs that are there now, and a sentence on each case, or run, that cannot be read: it is left out.
    """
    there, wrong = [], list[str]()
    for run in runs:
        folder = place_of(run, to)
        if run.folder == folder:
            there.append(run)
            continue
        try:
            content = content_of(run, setting, folder)
            read_summary(run.folder / SUMMARY)
        except InputError as error:
            wrong.append(f"{run.title} is not collected: {error}")
            continue
        wrong += [f"{run.title}: {why}" for why in content.get("unreadable", {}).values()]
        there.append(run)
        with folder_made_whole(folder, replaces="study") as temporary:
            fill(temporary, run.folder)
            write_json(temporary / FILE, content)
        for name in ("plans.json", "dataset.json", "dataset_fingerprint.json"):
            if (run.folder.parent / name).is_file():
                write_text(folder.parent / name, (run.folder.parent / name).read_text())
    return there, wrong


def content_of(run: Run, setting: Setting, folder: Path) -> dict[str, Any]:
    """What collected.json says of the run; folder: where it is collected, and may have been before."""
    if (run.folder / FILE).is_file():
        return dict(read_json(run.folder / FILE))
    found, problems = count_readable(*images_of(run, setting), ignore=ignored_label(setting))
    return {
        "key": run.key,
        "row": run.arm.row,
        "settings": settings_of(run, setting),
        "versions": versions(),
        "counts": {
            str(label): {case: [c.both, c.truth, c.prediction] for case, c in of_case.items()}
            for label, of_case in found.items()
        },
        "unreadable": problems,
        "record": record_of(run, setting, folder),
    }


def record_of(run: Run, setting: Setting, folder: Path) -> dict[str, Any]:
    """This study's own record of the run; where it has none, the one that was collected of the same training."""
    own = asdict(read_record(setting.output, run.key))
    for before in [] if own["attempts"] else [folder, place_of(run, setting.output)]:
        whole = all((before / name).is_file() for name in (FILE, SUMMARY))
        if whole and (before / SUMMARY).read_bytes() == (run.folder / SUMMARY).read_bytes():
            return dict(read_json(before / FILE).get("record", own))
    return own


def fill(to: Path, fold: Path) -> None:
    (to / "validation").mkdir(parents=True)
    shutil.copyfile(fold / SUMMARY, to / SUMMARY)
    for name in KEPT:
        if (fold / name).is_file():
            shutil.copyfile(fold / name, to / name)
    for log in fold.glob("training_log_*.txt"):
        lines = [line for line in log.read_text(errors="replace").splitlines() if TELLING.search(line)]
        write_text(to / log.name, "\n".join(lines) + "\n")


def collected(run: Run, setting: Setting) -> Run | None:
    """The run as it was collected into the study's folder, if it was, with the same settings."""
    folder = place_of(run, setting.output)
    return replace(run, folder=folder) if (folder / FILE).is_file() and not differences(run, setting) else None


def differences(run: Run, setting: Setting) -> list[str]:
    """What was other when the collected run was trained."""
    there, here = read_json(place_of(run, setting.output) / FILE).get("settings", {}), settings_of(run, setting)
    return [name for name in here if there.get(name) != here[name]]


def settings_of(run: Run, setting: Setting) -> dict[str, Any]:
    """All that makes a run the same experiment, short enough to be read."""
    study = setting.study
    setup = planned_setup(setting.dataset, run.arm.plans, study.configuration)
    said = setup.said
    splits = splits_of(setting)
    split = splits[run.fold] if run.fold < len(splits) else None
    return {
        "dataset": setting.dataset,
        "trainer": run.arm.trainer,
        "plans": run.arm.plans,
        "configuration": study.configuration,
        "fold": run.fold,
        "checkpoint": study.checkpoint,
        "cases": digest([split.train, split.val] if split else None),
        "patch size": said.patch_size,
        "batch size": said.batch_size,
        "network": digest(setup.architecture),
        "data": digest(data_settings(setup.plans.content, study.configuration)),
        "labels": digest(setup.dataset.said.labels),
    }


def digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def versions() -> dict[str, str]:
    import platform
    from importlib.metadata import version

    return {name: version(name) for name in ("nnunet-prosma", "nnunetv2", "torch", "numpy")} | {
        "python": platform.python_version()
    }


def counts(run: Run, setting: Setting) -> tuple[dict[int, dict[str, Count]], dict[str, str]]:
    """The counts of a collected run as they were kept, of another from its images; and what is wrong with the cases
    whose images cannot be read."""
    path = run.folder / FILE
    if not path.is_file():
        images = images_of(run, setting)
        try:
            return count_readable(*images, ignore=ignored_label(setting))
        except InputError as error:  # none can be read
            return {}, dict.fromkeys(images[2], str(error))
    said = read_json(path)
    try:
        kept = {
            int(label): {case: Count(*c) for case, c in of_case.items()} for label, of_case in said["counts"].items()
        }
        return kept, {str(case): str(why) for case, why in said.get("unreadable", {}).items()}
    except (AttributeError, KeyError, TypeError, ValueError):
        raise InputError(
            f"{path} is damaged: its counts are no voxels by label and case; collect the run again"
        ) from None


def ignored_label(setting: Setting) -> int | None:
    return Dataset.read(setting.preprocessed / "dataset.json").ignore_label


def images_of(run: Run, setting: Setting) -> tuple[Path, Path, list[str]]:
    """The folders of its predictions and of the truth, and its cases."""
    cases = read_splits(setting.splits)[run.fold].val
    return run.folder / "validation", setting.preprocessed / "gt_segmentations", list(cases)
