"""What differs between two runs before any case is looked at: data, labels, plans, schedule, machines."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from nnunet_prosma.compare.fairness import Finding
from nnunet_prosma.host.preprocessing import decides_preprocessing
from nnunet_prosma.host.trained import Fold, TrainedFolder

NETWORK = ("architecture",)
SCHEDULE = {
    "num_epochs": "epochs",
    "num_iterations_per_epoch": "iterations per epoch",
    "num_val_iterations_per_epoch": "validation iterations per epoch",
    "initial_lr": "initial learning rate",
    "weight_decay": "weight decay",
    "oversample_foreground_percent": "foreground oversampling",
    "probabilistic_oversampling": "probabilistic oversampling",
    "enable_deep_supervision": "deep supervision",
    "batch_size": "batch size",
    "loss": "loss",
    "dataloader_train.transform": "augmentation",
}
SURROUNDINGS = {
    "nnunet_version": "version of nnU-Net",
    "nnunet_prosma_version": "version of nnunet-prosma",
    "torch_version": "torch",
    "cudnn_version": "cuDNN",
    "gpu_name": "GPU",
    "device": "device",
    "hostname": "host",
}


def compare_setups(runs: Sequence[TrainedFolder], folds: Sequence[str]) -> Iterator[Finding]:
    """What differs between the first run and each other before any case is looked at."""
    baseline, *others = runs
    for run in runs:
        yield from (replace(found, run=run.name) for found in missing_folds(run, folds))
    for run in others:
        yield from (replace(found, run=run.name) for found in differences(baseline, run, folds))
    if "all" in folds:
        yield Finding("splits", "Fold all was trained and validated on the same cases: its numbers tell no ability.")


def differences(baseline: TrainedFolder, run: TrainedFolder, folds: Sequence[str]) -> Iterator[Finding]:
    if run.dataset != baseline.dataset:
        sentence = f"{baseline.name} was trained on {baseline.dataset}, {run.name} on {run.dataset}."
        yield Finding("dataset", sentence, error=True)
    yield from label_differences(baseline, run)
    if run.configuration != baseline.configuration:
        yield Finding(
            "configuration",
            f"{baseline.name} is a {baseline.configuration} training, {run.name} a {run.configuration} one.",
        )
    yield from plan_differences(baseline, run)
    yield from training_differences(baseline, run, folds)


def missing_folds(run: TrainedFolder, folds: Sequence[str]) -> Iterator[Finding]:
    absent = [f for f in folds if f not in run.folds]
    unvalidated = [f for f in folds if f in run.folds and not run.folds[f].validated]
    if absent:
        yield Finding("folds", f"{run.name} lacks {_folds(absent)}: train, or choose folds with -f.", error=True)
    if unvalidated:
        yield Finding(
            "folds",
            f"{run.name} has no validation/summary.json in {_folds(unvalidated)}: validate with nnUNetv2_train --val, "
            f"or choose folds with -f.",
            error=True,
        )
    if retrained := [f for f in folds if f in run.folds and run.folds[f].retrained]:
        yield Finding(
            "retrained",
            f"{run.name} was trained again after the validation that lies in {_folds(retrained)}, which so is of other "
            f"weights: let that training end, or validate with nnUNetv2_train --val.",
            error=True,
        )
    unfinished = [f for f in folds if f in run.folds and not run.folds[f].finished]
    if unfinished:
        reached = ", ".join(
            f"fold {f} after {run.folds[f].log.epochs} of {run.folds[f].debug.get('num_epochs', '?')} epochs"
            for f in unfinished
        )
        yield Finding("unfinished", f"{run.name} has no checkpoint_final.pth: {reached}.", error=True)


def label_differences(baseline: TrainedFolder, run: TrainedFolder) -> Iterator[Finding]:
    if (baseline.labels, baseline.ignore_label) == (run.labels, run.ignore_label):
        return
    yield Finding(
        "labels",
        f"{baseline.name} and {run.name} define other labels: {_labels(baseline)} against {_labels(run)}.",
        error=True,
    )


def plan_differences(baseline: TrainedFolder, run: TrainedFolder) -> Iterator[Finding]:
    """A diff of the plans in three parts: the network, the preprocessing, and the rest."""
    before, after = flatten(baseline.settings()), flatten(run.settings())
    changed = [k for k in {**before, **after} if before.get(k) != after.get(k)]
    names = {"plans_name", "dataset_name", "inherits_from", "nnunet_prosma"}
    parts: dict[str, list[str]] = {"network": [], "preprocessing": [], "plans": []}
    for key in changed:
        top = key.split(".")[0]
        if top in names:
            continue
        kind = "network" if top in NETWORK else "preprocessing" if decides_preprocessing(top) else "plans"
        parts[kind] += [f"- {key}: {before[key]}"] if key in before else []
        parts[kind] += [f"+ {key}: {after[key]}"] if key in after else []
    about = {"network": "the network", "preprocessing": "preprocessing", "plans": "other settings than network"}
    for kind, lines in parts.items():
        if lines:
            yield Finding(
                kind, f"The plans of {baseline.name} (-) and {run.name} (+) differ in {about[kind]}.", tuple(lines)
            )


def training_differences(baseline: TrainedFolder, run: TrainedFolder, folds: Sequence[str]) -> Iterator[Finding]:
    """Schedule, sizes of the splits, data fingerprint, versions and machines, fold by fold, said once for all folds."""
    common = [f for f in folds if f in baseline.folds and f in run.folds]
    for fields, kind in ((SCHEDULE, "schedule"), (SURROUNDINGS, "versions")):
        for key, about in fields.items():
            yield from _differs(baseline, run, common, kind, about, partial(_debug, key))
    yield from _differs(baseline, run, common, "schedule", "epochs in the log", lambda f: f.log.epochs or None)
    yield from _differs(
        baseline, run, common, "checkpoint", "checkpoint that was validated", lambda f: f.validated_checkpoint
    )
    yield from _differs(baseline, run, common, "splits", "training cases", lambda f: f.log.training_cases)
    yield from _differs(baseline, run, common, "versions", "computation of the gates", lambda f: f.log.gate_path)
    prints = [r.folder / "dataset_fingerprint.json" for r in (baseline, run)]
    if all(p.is_file() for p in prints) and len({p.read_bytes() for p in prints}) > 1:
        yield Finding(
            "fingerprint",
            f"dataset_fingerprint.json of {baseline.name} and {run.name} differ: the data set was changed in between.",
        )


def flatten(tree: Any, path: str = "") -> dict[str, str]:
    """{"a": {"b": 1}} -> {"a.b": "1"}; lists stay whole."""
    if not isinstance(tree, Mapping) or not tree:
        return {path: json.dumps(tree, default=str)}
    branches = (flatten(branch, f"{path}.{key}" if path else str(key)) for key, branch in tree.items())
    return {key: value for branch in branches for key, value in branch.items()}


def _differs(
    baseline: TrainedFolder,
    run: TrainedFolder,
    folds: Sequence[str],
    kind: str,
    about: str,
    read: Callable[[Fold], object],
) -> Iterator[Finding]:
    """One finding for all folds in which read(fold) is known for both runs and not the same."""
    pairs = {f: (read(baseline.folds[f]), read(run.folds[f])) for f in folds}
    differing = {f: pair for f, pair in pairs.items() if None not in pair and pair[0] != pair[1]}
    by_value: dict[tuple[str, str], list[str]] = {}
    for fold, (a, b) in differing.items():
        by_value.setdefault((str(a), str(b)), []).append(fold)
    for (a, b), where in by_value.items():
        scope = "" if len(where) == len(folds) else f" in {_folds(where)}"
        if max(len(a), len(b)) > 60:
            sentence = f"{baseline.name} (-) and {run.name} (+) differ in {about}{scope}."
            yield Finding(kind, sentence, (f"- {a}", f"+ {b}"), about=about)
        else:
            sentence = f"{about[0].upper()}{about[1:]}: {a} in {baseline.name}, {b} in {run.name}{scope}."
            yield Finding(kind, sentence, about=about)


def _debug(key: str, fold: Fold) -> str | None:
    """debug.json holds representations of objects: an address in memory is no difference."""
    text = fold.debug.get(key)
    return None if text is None else re.sub(r" at 0x[0-9a-fA-F]+", "", text)


def _folds(folds: Sequence[str]) -> str:
    return f"fold{'' if len(folds) == 1 else 's'} {', '.join(folds)}"


def _labels(run: TrainedFolder) -> str:
    ignore = "" if run.ignore_label is None else f", ignore = {run.ignore_label}"
    return ", ".join(f"{name} = {key}" for key, name in run.labels.items()) + ignore
