"""Smooth what nnU-Net predicted with its probabilities: one segmentation a case, in nnU-Net's format."""

from pathlib import Path

from nnunet_prosma.errors import InputError
from nnunet_prosma.files import folder_made_whole
from nnunet_prosma.host.dataset_json import Dataset
from nnunet_prosma.host.plans import Plans, Setup
from nnunet_prosma.host.probabilities import read_soft_case, soft_cases, write_labels
from nnunet_prosma.progress import progress_bar
from nnunet_prosma.smooth.case import smoothed
from nnunet_prosma.smooth.settings import Smoothing, refuse_other_data


def setup_beside(folder: Path, plans_json: Path | None = None) -> Setup:
    """The setup of the plans.json and dataset.json that nnU-Net puts beside its predictions, or above its validation.

    nnUNetv2_ensemble leaves no plans.json, so that it has to be named.
    """
    for place in (folder, folder.parent.parent):
        file = plans_json or place / "plans.json"
        if (place / "dataset.json").is_file() and file.is_file():
            plans = Plans.read(file)
            return Setup(plans, plans.configurations[0], Dataset.read(place / "dataset.json"))
    raise InputError(
        f"{folder} must hold the plans.json and dataset.json that nnUNetv2_predict puts there; after nnUNetv2_ensemble "
        f"name a model's plans.json with -plans_json"
    )


def apply(
    smoothing: Smoothing, folder: Path, output: Path, plans_json: Path | None = None
) -> tuple[int, int, list[str]]:
    """Cases written, cases with another voxel than before, and what is wrong with those that were left out."""
    setup = setup_beside(folder, plans_json)
    refuse_other_data(smoothing, setup, folder)
    ending, changed, wrong = setup.dataset.file_ending, 0, list[str]()
    names = soft_cases(folder, ending)
    with folder_made_whole(output, "smooth") as temporary:
        for name in progress_bar(names, desc="smoothing"):
            try:
                case = read_soft_case(folder, name, setup)
            except InputError as error:
                wrong.append(str(error))
                continue
            labels = smoothed(case, setup, smoothing)
            changed += bool((labels != case.labels).any())
            write_labels(temporary / f"{name}{ending}", labels, case, setup)
        if len(wrong) == len(names):
            raise InputError(f"no case of {folder} can be smoothed: {wrong[0]}")
    return len(names) - len(wrong), changed, wrong
