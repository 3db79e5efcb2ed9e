"""The trained folders that go into a bundle, each with the folds that are to predict."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_prosma.errors import InputError
from nnunet_prosma.host.trained import TrainedFolder, read_trained


@dataclass(frozen=True)
class Chosen:
    """One trained folder, and which of its checkpoints are bundled."""

    trained: TrainedFolder
    folds: tuple[str, ...]
    checkpoints: tuple[Path, ...]
    """One for each fold, in their order."""


def find_models(folders: Sequence[Path], folds: Sequence[str], checkpoint_name: str) -> list[Chosen]:
    """Refused if one cannot be predicted with, or if they are no ensemble."""
    models = []
    for folder in folders:
        if len(folder.resolve().name.split("__")) != 3 or not folder.is_dir():
            raise InputError(f"{folder} must be nnU-Net's results folder TRAINER__PLANS__CONFIGURATION")
        trained = read_trained(folder)
        models.append(Chosen(trained, tuple(folds), tuple(trained.checkpoints(folds, checkpoint_name))))
        for problem in unbundled(trained):
            raise InputError(f"{trained.identifier} cannot be bundled: {problem}")
    names = [model.trained.identifier for model in models]
    if len(set(names)) < len(names):
        raise InputError(f"{max(names, key=names.count)} is named twice: an ensemble has different models")
    for model in models[1:]:
        ours, theirs = (m.trained.setup.dataset.said for m in (models[0], model))
        for key in ("labels", "regions_class_order", "channel_names", "file_ending"):
            if getattr(ours, key) != getattr(theirs, key):
                raise InputError(
                    f"{names[0]} and {model.trained.identifier} are no ensemble: their dataset.json differ in {key}"
                )
    return models


def unbundled(trained: TrainedFolder) -> Iterator[str]:
    """What a bundle does not carry."""
    setup = trained.setup
    if setup.previous_stage is not None:
        yield "the second stage of a cascade needs the first one's segmentations, and a bundle has single models only"
    for kind in (type(setup.plans.reader()), setup.preprocessor()):
        if not kind.__module__.startswith("nnunetv2."):
            yield f"its {kind.__name__} is not a part of nnU-Net, and a bundle carries no code but this plugin's"
