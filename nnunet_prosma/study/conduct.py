"""A study from its check to its table."""

import contextlib
import io
from pathlib import Path
from typing import Any

from nnunet_prosma.errors import InputError
from nnunet_prosma.files import read_json, write_json
from nnunet_prosma.host.splits import read_splits
from nnunet_prosma.study.lock import sole
from nnunet_prosma.study.runs import Run, carry_out, command, runs_of, state
from nnunet_prosma.study.spec import Study
from nnunet_prosma.study.table import write_table

RECORD = "study.json"


def conduct(study: Study, output: Path, device: str, *, train: bool, command: str) -> None:
    dataset, preprocessed = check(study)
    refuse_foreign(output)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"the study cannot be written to {output}: {error.strerror}") from None
    with sole(output) as held:
        record = read_record(output / RECORD)
        runs = runs_of(study, dataset)
        if train:
            train_all(runs, study, dataset, device, output, record, held)
        finished = [run for run in runs if state(run, study, record["checkpoints"]) == "finished"]
        if not finished:
            raise InputError("no training of this study is finished, so there is nothing to put into a table")
        reports = compare(finished, study, preprocessed, output)
        path = write_table(study, runs, finished, reports, preprocessed, output, command=command, record=record)
    print(path.read_text())
    print(path)


def refuse_foreign(output: Path) -> None:
    """A folder is a study's if it holds its record; without it, nothing may be there that a study would replace."""
    if not (output / RECORD).is_file():
        for name in ("table.md", "table.csv", "logs", "compare"):
            if (output / name).exists():
                raise InputError(f"{output / name} is not of a study, which keeps {RECORD} beside: name another folder")


def train_all(
    runs: list[Run],
    study: Study,
    dataset: str,
    device: str,
    output: Path,
    record: dict[str, Any],
    held: int | None,
) -> None:
    for number, run in enumerate(runs, 1):
        how = state(run, study, record["checkpoints"])
        print(f"[{number}/{len(runs)}] fold {run.fold}, {run.arm.row} ({run.arm.trainer}): {how}", flush=True)
        if how == "finished":
            continue
        words = command(run, study, dataset, device, how)
        seconds = carry_out(words, output / "logs" / f"{run.key}.txt", device, held)
        if not run.finished:
            raise InputError(
                f"{' '.join(words)} ended without checkpoint_final.pth and validation/summary.json in {run.folder}; "
                f"see {output / 'logs' / run.key}.txt"
            )
        record["checkpoints"][run.key] = study.checkpoint
        record["commands"].setdefault(run.key, []).append({"command": " ".join(words), "seconds": round(seconds, 1)})
        write_json(output / RECORD, record)


def compare(finished: list[Run], study: Study, preprocessed: Path, output: Path) -> dict[str, Path]:
    """nnunet-prosma compare over the folds that all arms have; one report, or where folds share cases one for each."""
    from nnunet_prosma.compare.command import main

    folds = [f for f in study.folds if sum(run.fold == f for run in finished) == len(study.arms)]
    if len(study.arms) < 2 or not folds:
        return {}
    folders = [str(next(r for r in finished if r.arm == arm).folder.parent) for arm in study.arms]
    groups = [folds] if disjoint(preprocessed, folds) else [[fold] for fold in folds]
    reports = {}
    for group in groups:
        name = f"fold {group[0]}" if len(group) == 1 else f"folds {', '.join(map(str, group))}"
        report = output / "compare" / name.replace(", ", "_").replace(" ", "_")
        main(["--folders", *folders, "-f", *map(str, group), "-o", str(report), *study.compare])
        reports[name] = report
    return reports


def disjoint(preprocessed: Path, folds: list[int]) -> bool:
    """Whether no case is validated in two of these folds."""
    splits = read_splits(preprocessed / "splits_final.json")
    held_out = [case for fold in folds for case in splits[fold].val]
    return len(held_out) == len(set(held_out))


def check(study: Study) -> tuple[str, Path]:
    """The data set's name, and its folder of preprocessed data with all the plans; before hours of training."""
    from nnunetv2.paths import nnUNet_preprocessed, nnUNet_results
    from nnunetv2.utilities.dataset_name_id_conversion import maybe_convert_to_dataset_name
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    if not study.dataset:
        raise InputError("the study names no data set: give one with -d")
    for name, folder in (("nnUNet_preprocessed", nnUNet_preprocessed), ("nnUNet_results", nnUNet_results)):
        if not folder.is_set():
            raise InputError(f"a study trains with nnU-Net: set the environment variable {name}")
    try:
        dataset = maybe_convert_to_dataset_name(int(study.dataset) if study.dataset.isdigit() else study.dataset)
    except (RuntimeError, ValueError) as error:
        raise InputError(f"nnU-Net knows no data set {study.dataset}: {' '.join(str(error).split())}") from None
    preprocessed = Path(nnUNet_preprocessed) / dataset
    for plans in dict.fromkeys(arm.plans for arm in study.arms):
        path = preprocessed / f"{plans}.json"
        if not path.is_file():
            raise InputError(f"{path} is missing; plan and preprocess the data set first: nnUNetv2_plan_and_preprocess")
        known = read_json(path).get("configurations", {})
        if study.configuration not in known:
            raise InputError(f"{path} has no configuration {study.configuration}, but {', '.join(known)}")
    splits = preprocessed / "splits_final.json"
    count = len(read_splits(splits)) if splits.is_file() else 5
    if max(study.folds) >= count:
        raise InputError(
            f"fold {max(study.folds)} is not in {splits}, which has folds 0 to {count - 1}: nnU-Net would make up a "
            f"random one"
        )
    for arm in study.arms:
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                recursive_find_trainer_class_by_name(arm.trainer)
        except RuntimeError:
            raise InputError(f"nnU-Net finds no trainer {arm.trainer}; see nnunet-prosma doctor") from None
    return dataset, preprocessed


def read_record(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {"checkpoints": {}, "commands": {}}
    try:
        record = read_json(path)
        return {"checkpoints": dict(record["checkpoints"]), "commands": dict(record["commands"])}
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{path} is damaged; remove it, and what is finished is validated again") from None
