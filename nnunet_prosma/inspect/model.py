"""The trained model that is looked into, and the cases it is shown."""

import argparse
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from sys import stderr

import torch

from nnunet_prosma.architectures.gated_unet import GatedNetwork
from nnunet_prosma.errors import InputError
from nnunet_prosma.inspect.predictor import WatchingPredictor
from nnunet_prosma.watch.observe import bare


@dataclass(frozen=True)
class Case:
    name: str
    files: list[str]
    previous: str | None
    """Of a cascade: the prediction of the stage before."""
    truth: str | None


def model_folder(options: argparse.Namespace) -> Path:
    if options.m is not None:
        return Path(options.m)
    from nnunetv2.paths import nnUNet_results
    from nnunetv2.utilities.file_path_utilities import get_output_folder

    if not nnUNet_results.is_set():
        raise InputError("the environment variable nnUNet_results is not set: set it, or name the model's folder by -m")
    try:
        return Path(get_output_folder(options.d, options.tr, options.p, options.c))
    except (RuntimeError, ValueError) as error:
        raise InputError(f"nnU-Net knows no data set {options.d}: {' '.join(str(error).split())}") from None


def load(folder: Path, options: argparse.Namespace) -> WatchingPredictor:
    for name in ("plans.json", "dataset.json"):
        if not (folder / name).is_file():
            raise InputError(
                f"{folder} holds no {name}: it must be a model's folder TRAINER__PLANS__CONFIGURATION, which nnU-Net "
                f"fills in training"
            )
    absent = [f for f in options.f if not (folder / f"fold_{f}" / options.chk).is_file()]
    if absent:
        there = sorted(path.parent.name.removeprefix("fold_") for path in folder.glob(f"fold_*/{options.chk}"))
        raise InputError(
            f"{folder} holds no {options.chk} of fold {', '.join(absent)}; "
            + (f"there is one of fold {', '.join(there)}: choose with -f" if there else "train it, or choose with -chk")
        )
    device = torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    with redirect_stdout(stderr):  # nnU-Net talks
        predictor = WatchingPredictor(
            tile_step_size=options.step_size,
            use_mirroring=not options.disable_tta,
            perform_everything_on_device=not options.not_on_device,
            device=device,
            allow_tqdm=not options.quiet,
        )
        try:
            predictor.initialize_from_trained_model_folder(str(folder), list(options.f), options.chk)
        except Exception as error:  # whatever nnU-Net, a trainer or torch find wrong with it
            raise InputError(f"nnU-Net cannot load the model in {folder}: {' '.join(str(error).split())}") from error
    predictor.with_support = options.support
    network = bare(predictor.network)
    if not isinstance(network, GatedNetwork) or not len(network.decoder.gates):
        raise InputError(
            f"the model in {folder} has no gates to look into: its trainer {predictor.trainer_name} built a "
            f"{type(network).__name__}; name a model that a gated trainer made, such as nnUNetTrainerProSMA"
        )
    return predictor


def cases_of(predictor: WatchingPredictor, options: argparse.Namespace) -> list[Case]:
    """All that can be wrong with the folders is said before anything is computed."""
    from nnunetv2.utilities.utils import create_lists_from_splitted_dataset_folder

    ending = predictor.dataset_json["file_ending"]
    before = predictor.configuration_manager.previous_stage_name
    if before is not None and options.prev_stage_predictions is None:
        raise InputError(
            f"this configuration is the second stage of a cascade: give the predictions of {before} for these images "
            f"with -prev_stage_predictions"
        )
    if before is None and options.prev_stage_predictions is not None:
        raise InputError("-prev_stage_predictions is for the second stage of a cascade, which this model is not")
    if not options.i.is_dir():
        raise InputError(f"{options.i} is not a folder: -i must name the folder of the images")
    found = create_lists_from_splitted_dataset_folder(str(options.i), ending, num_processes=1)
    if not found:
        raise InputError(f"{options.i} holds no image: their names must be CASE_0000{ending}, as for nnUNetv2_predict")
    cases = []
    for files in found:
        name = Path(files[0]).name[: -len(f"_0000{ending}")]
        previous = _beside(options.prev_stage_predictions, name, ending, "the prediction of the stage before")
        truth = _beside(options.gt, name, ending, "the true segmentation")
        cases.append(Case(name, list(files), previous, truth))
    return cases


def _beside(folder: Path | None, name: str, ending: str, what: str) -> str | None:
    if folder is None:
        return None
    path = folder / f"{name}{ending}"
    if not path.is_file():
        raise InputError(f"{what} of {name} is missing: {path} is not there")
    return str(path)
