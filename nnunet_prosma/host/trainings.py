"""What nnunet-prosma doctor FOLDER says: which trainings below a folder are whole, can go on, and have gates."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nnunet_prosma.errors import InputError
from nnunet_prosma.host.trained import BEST, FINAL, LATEST, Fold, TrainedFolder, read_trained

TO_GO_ON = ("network_weights", "optimizer_state", "current_epoch", "logging", "init_args")
"""What nnU-Net's --c reads from a checkpoint."""
GATE = re.compile(r"(?:_orig_mod\.|module\.)*decoder\.gates\.(\d+)\.")


def examine_folder(folder: Path) -> list[dict[str, Any]]:
    """What is known of each training: folder, fold, state, epochs, gates (None if no checkpoint tells), problem
    (None, or a sentence)."""
    from nnunet_prosma.progress import progress_bar

    found = list(trained_folders(folder))
    if not found:
        raise InputError(
            f"{folder} holds no training: it must be nnUNet_results, a data set's folder in it, or a folder "
            f"TRAINER__PLANS__CONFIGURATION"
        )
    report: list[dict[str, Any]] = []
    for path in progress_bar(found, desc="trainings", unit="folder", leave=False):
        try:
            trained = read_trained(path)
        except InputError as error:
            report.append(row(path, "-", "damaged", problem=str(error)))
            continue
        report += [examine_fold(trained, fold) for fold in trained.folds.values()]
    return report


def trained_folders(folder: Path) -> Iterator[Path]:
    """This folder or those below it, down to nnUNet_results/DATASET/TRAINER__PLANS__CONFIGURATION."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: name nnUNet_results, or a folder in it")
    for pattern in (".", "*", "*/*"):
        yield from sorted({path.parent for path in folder.glob(f"{pattern}/fold_*") if path.is_dir()})


def row(folder: Path, fold: str, state: str, **told: Any) -> dict[str, Any]:
    return {"folder": str(folder), "fold": fold, "state": state, "epochs": None, "gates": None, "problem": None, **told}


def examine_fold(trained: TrainedFolder, fold: Fold) -> dict[str, Any]:
    """Each checkpoint that counts is read to its end, by weights-only loading."""
    from nnunet_prosma.host.checkpoints import read_checkpoint

    name = next((name for name in (FINAL, LATEST, BEST) if fold.checkpoint(name).is_file()), None)
    if name is None and fold.collected:
        return examine_collected(trained, fold)
    if name is None:
        return row(trained.folder, fold.name, "no checkpoint", problem="nothing to go on from: train it again")
    try:
        checkpoint = read_checkpoint(fold.checkpoint(name))
        cases = len(fold.validated_cases()) if fold.validated else 0
    except InputError as error:
        return row(trained.folder, fold.name, "damaged", problem=str(error))
    gates = {found[1] for key in checkpoint["network_weights"] if (found := GATE.match(key))}
    told = {"epochs": checkpoint.get("current_epoch"), "gates": len(gates)}
    if name != FINAL:
        missing = [key for key in TO_GO_ON if key not in checkpoint]
        if missing:
            problem = f"{fold.checkpoint(name)} lacks {', '.join(missing)}, so nnU-Net cannot go on from it"
            return row(trained.folder, fold.name, "damaged", problem=problem, **told)
        return row(trained.folder, fold.name, "resumable", problem=f"not finished: go on from {name} with --c", **told)
    if (retrained := fold.retrained) or not cases:
        since = ", and trained again since its validation" * retrained
        problem = f"finished{since}: validate it with --val"
        return row(trained.folder, fold.name, "not validated", problem=problem, **told)
    return row(trained.folder, fold.name, "whole", cases=cases, **told)


def examine_collected(trained: TrainedFolder, fold: Fold) -> dict[str, Any]:
    """What a study keeps of a finished training has no checkpoint, and needs none."""
    try:
        return row(trained.folder, fold.name, "collected", cases=len(fold.validated_cases()))
    except InputError as error:
        return row(trained.folder, fold.name, "damaged", problem=str(error))


def as_text(report: list[dict[str, Any]]) -> str:
    lines, last = [], None
    for training in report:
        if training["folder"] != last:
            last = training["folder"]
            lines.append(last)
        told = [] if training["epochs"] is None else [counted(training["epochs"], "epoch")]
        if training["gates"] is not None:
            told.append(counted(training["gates"], "gate"))
        if "cases" in training:
            told.append(f"validated on {counted(training['cases'], 'case')}")
        if training["problem"]:
            told.append(training["problem"])
        lines.append(f"  fold {training['fold']:<4}{training['state']:<15}{'; '.join(told)}")
    whole = sum(training["state"] == "whole" for training in report)
    kept = sum(training["state"] == "collected" for training in report)
    also = f", {kept} {'is' if kept == 1 else 'are'} collected without a checkpoint" if kept else ""
    return "\n".join([*lines, f"{whole} of {len(report)} trainings are whole{also}"])


def counted(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"
