"""The trained model that is looked into, and the cases it is shown."""

import argparse
import io
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import torch

from nnunet_prosma import progress
from nnunet_prosma.architectures.gated_unet import GatedNetwork
from nnunet_prosma.errors import InputError
from nnunet_prosma.host.cases import cases_in
from nnunet_prosma.host.checkpoints import facts_of, read_checkpoint, require_fit, weights_of
from nnunet_prosma.host.datasets import results_folder
from nnunet_prosma.host.devices import choose_device
from nnunet_prosma.host.trained import checkpoints_of, read_trained, require_trained
from nnunet_prosma.host.trainers import find_trainer
from nnunet_prosma.inspect.predictor import WatchingPredictor
from nnunet_prosma.watch.observe import bare


@dataclass(frozen=True)
class ImageCase:
    name: str
    files: list[str]
    previous: str | None
    """The prediction of the stage before, in a cascade."""
    truth: str | None


def model_folder(options: argparse.Namespace) -> Path:
    if options.m is not None:
        return Path(options.m)
    return results_folder(options.d, options.tr, options.p, options.c)


def load(folder: Path, options: argparse.Namespace) -> WatchingPredictor:
    """nnU-Net's predictor with the model's weights, read without executing anything that stands in the checkpoints."""
    require_trained(folder)
    paths = checkpoints_of(folder, options.f, options.chk)
    checkpoints = [read_checkpoint(path) for path in paths]
    facts = facts_of(checkpoints[0], paths[0])
    setup, trainer = read_trained(folder, facts.init_args.configuration).setup, facts.trainer_name
    network = setup.network(find_trainer(trainer), deep_supervision=False)
    if not isinstance(bare(network), GatedNetwork) or not bare(network).decoder.gated():
        raise InputError(
            f"the model in {folder} has no gates to look into: its trainer {trainer} built a "
            f"{type(network).__name__}; name a model that a gated trainer made, such as nnUNetTrainerProSMA"
        )
    for path, checkpoint in zip(paths, checkpoints, strict=True):
        require_fit(network, weights_of(checkpoint), path)
    network.load_state_dict(weights_of(checkpoints[0]))
    with redirect_stdout(io.StringIO()):  # nnU-Net says on each CPU that it is one
        predictor = WatchingPredictor(
            tile_step_size=options.step_size,
            use_mirroring=not options.disable_tta,
            perform_everything_on_device=not options.not_on_device,
            device=torch.device(choose_device(options.device)),
            allow_tqdm=not options.quiet and progress.shown(),
        )
    with redirect_stdout(sys.stderr):  # nnU-Net talks
        predictor.manual_initialization(
            network,
            setup.plans.manager,
            setup.manager,
            [weights_of(checkpoint) for checkpoint in checkpoints],
            setup.dataset.content,
            trainer,
            facts.inference_allowed_mirroring_axes,
        )
    predictor.setup = setup
    predictor.with_support = options.support
    return predictor


def cases_of(predictor: WatchingPredictor, options: argparse.Namespace) -> list[ImageCase]:
    """All that can be wrong with the folders is said before anything is computed."""
    ending = predictor.setup.dataset.file_ending
    before = predictor.setup.previous_stage
    if before is not None and options.prev_stage_predictions is None:
        raise InputError(
            f"this configuration is the second stage of a cascade: give the predictions of {before} for these images "
            f"with -prev_stage_predictions"
        )
    if before is None and options.prev_stage_predictions is not None:
        raise InputError("-prev_stage_predictions is for the second stage of a cascade, which this model is not")
    cases = []
    for name, files in cases_in(options.i, ending).items():
        if not is_text(name):
            raise InputError(f"{options.i} holds {name!r}, a name that is no UTF-8, which no page can show: rename it")
        previous = _beside(options.prev_stage_predictions, name, ending, "the prediction of the stage before")
        truth = _beside(options.gt, name, ending, "the true segmentation")
        cases.append(ImageCase(name, files, previous, truth))
    return cases


def is_text(name: str) -> bool:
    """Whether a file's name can be written into a page or a figure."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _beside(folder: Path | None, name: str, ending: str, what: str) -> str | None:
    if folder is None:
        return None
    path = folder / f"{name}{ending}"
    if not path.is_file():
        raise InputError(f"{what} of {name} is missing: {path} is not there")
    return str(path)
