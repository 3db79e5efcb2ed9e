"""What a study needs is looked at before hours of training."""

import contextlib
import io
from pathlib import Path

from nnunet_prosma.errors import InputError
from nnunet_prosma.host.dataset_json import Dataset
from nnunet_prosma.host.datasets import dataset_name, folder_of
from nnunet_prosma.host.plans import Plans
from nnunet_prosma.host.splits import read_splits
from nnunet_prosma.host.trainers import find_trainer
from nnunet_prosma.study.spec import Study


def check(study: Study) -> tuple[str, Path]:
    """The data set's name, and its folder of preprocessed data with all the plans."""
    from nnunet_prosma.fast.concatenation import forced_path

    dataset, preprocessed = data(study)
    forced_path()  # refuses a bad one, which every training would fail of
    check_plans(study, preprocessed)
    check_folds(study, preprocessed / "splits_final.json")
    check_label(study, preprocessed / "dataset.json")
    check_trainers(study)
    check_compare(study)
    return dataset, preprocessed


def data(study: Study) -> tuple[str, Path]:
    if not study.dataset:
        raise InputError("the study names no data set: give one with -d")
    for variable in ("nnUNet_results", "nnUNet_preprocessed"):
        folder = folder_of(variable, "a study trains with nnU-Net")
    dataset = dataset_name(study.dataset)
    return dataset, folder / dataset


def check_plans(study: Study, preprocessed: Path) -> None:
    for plans in dict.fromkeys(arm.plans for arm in study.arms):
        path = preprocessed / f"{plans}.json"
        if not path.is_file():
            raise InputError(f"{path} is missing; plan and preprocess the data set first: nnUNetv2_plan_and_preprocess")
        known = Plans.read(path).configurations
        if study.configuration not in known:
            raise InputError(f"{path} has no configuration {study.configuration}, but {', '.join(known)}")


def check_folds(study: Study, splits: Path) -> None:
    count = len(read_splits(splits)) if splits.is_file() else 5
    if max(study.folds) >= count:
        raise InputError(
            f"fold {max(study.folds)} is not in {splits}, which has folds 0 to {count - 1}: nnU-Net would make up a "
            f"random one"
        )


def check_label(study: Study, dataset_json: Path) -> None:
    labels = {label for label in Dataset.read(dataset_json).labels if isinstance(label, int)}
    if labels and study.label not in labels:
        raise InputError(f"the data set has no label {study.label}; its labels are {', '.join(map(str, labels))}")


def check_trainers(study: Study) -> None:
    for trainer in dict.fromkeys(arm.trainer for arm in study.arms):
        find_trainer(trainer)


def check_compare(study: Study) -> None:
    """The further options of nnunet-prosma compare, by its own parser."""
    from nnunet_prosma.compare.options import parse

    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            parse(["--folders", "A", "B", "-o", "no such report", *map(str, study.compare)])
    except SystemExit:
        reason = said.getvalue().partition("nnunet-prosma compare: ")[2].splitlines()[0]
        raise InputError(f"the study's compare: {reason}; nnunet-prosma compare --help names its options") from None
