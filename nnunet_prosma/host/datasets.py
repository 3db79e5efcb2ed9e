"""nnU-Net's folders, and data sets in them, by number or name."""

import os
from pathlib import Path

from nnunet_prosma.errors import InputError
from nnunet_prosma.host.check import read_checked
from nnunet_prosma.host.dataset_json import Dataset
from nnunet_prosma.host.plans import Plans, Setup
from nnunet_prosma.host.schema import FingerprintFile

VARIABLES = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")


def folder_of(variable: str, otherwise: str = "") -> Path:
    """The folder that nnU-Net's environment variable names. otherwise: what else the user can do, as in ", or ..."."""
    value = os.environ.get(variable)
    if not value:
        raise InputError(f"the environment variable {variable} is not set: set it as for nnU-Net{otherwise}")
    if Path(value).exists() and not Path(value).is_dir():
        raise InputError(f"the environment variable {variable} must name a folder, and {value} is a file")
    return Path(value)


def optional_folder(variable: str) -> Path | None:
    """The folder that the variable names, if it is set and there."""
    value = os.environ.get(variable)
    return Path(value) if value and Path(value).is_dir() else None


def dataset_name(given: str) -> str:
    """nnU-Net's name, such as Dataset009_Spleen, of a data set given by number or name."""
    from nnunetv2.utilities.dataset_name_id_conversion import maybe_convert_to_dataset_name

    if not given or given != Path(given).name or given in (".", ".."):
        raise InputError(f"a data set is named by its number or as Dataset009_Spleen is, not by {given!r}")
    if not given.startswith("Dataset") and not (given.isascii() and given.isdecimal()):
        raise InputError(f"nnU-Net knows no data set {given!r}: name it by its number, or as Dataset009_Spleen is")
    try:
        return str(maybe_convert_to_dataset_name(given))
    except (RuntimeError, ValueError, OSError) as error:
        raise InputError(f"nnU-Net knows no data set {given}: {' '.join(str(error).split())}") from None


def preprocessed_folder(given: str) -> Path:
    """The data set's folder in nnUNet_preprocessed, which must be there."""
    folder = folder_of("nnUNet_preprocessed") / dataset_name(given)
    if not folder.is_dir():
        raise InputError(f"there is no data set {given}: {folder} does not exist; plan it first, as nnU-Net does")
    return folder


def planned_setup(given: str, plans: str, configuration: str) -> Setup:
    """What nnU-Net would train on this data set with these plans."""
    folder = preprocessed_folder(given)
    file = folder / f"{plans}.json"
    for needed in (file, folder / "dataset.json"):
        if not needed.is_file():
            raise InputError(f"{needed} does not exist: plan the data set first, or name its plans with -p")
    return Setup(Plans.read(file), configuration, Dataset.read(folder / "dataset.json"))


def results_folder(given: str, trainer: str, plans: str, configuration: str) -> Path:
    """The folder where nnU-Net puts this training, whether it is there or not: TRAINER__PLANS__CONFIGURATION."""
    root = folder_of("nnUNet_results", ", or name the folder of the trained model")
    for name, value in (("trainer", trainer), ("plans", plans), ("configuration", configuration)):
        if not value or "/" in value or "\0" in value:
            raise InputError(f"the {name} must be a name, got {value!r}")
    return root / dataset_name(given) / f"{trainer}__{plans}__{configuration}"


def require_planned_data(given: str) -> str:
    """The name of a data set whose description and fingerprint are there and whole, as planning needs them."""
    raw, preprocessed = folder_of("nnUNet_raw"), folder_of("nnUNet_preprocessed")
    name = dataset_name(given)
    Dataset.read(raw / name / "dataset.json")
    fingerprint = preprocessed / name / "dataset_fingerprint.json"
    if not fingerprint.is_file():
        raise InputError(f"{fingerprint} is missing: run nnUNetv2_extract_fingerprint -d {given} first")
    read_checked(fingerprint, FingerprintFile)
    return name
