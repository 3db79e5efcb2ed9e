"""The trained models that go into a bundle, as nnU-Net's results folders hold them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from nnunet_prosma.errors import InputError
from nnunet_prosma.host.trained import TrainedFolder, read_trained


@dataclass(frozen=True)
class Model:
    """TRAINER__PLANS__CONFIGURATION, with the folds that are to predict."""

    folder: Path
    folds: tuple[str, ...]
    checkpoint_name: str

    @cached_property
    def trained(self) -> TrainedFolder:
        return read_trained(self.folder)

    @property
    def name(self) -> str:
        return self.folder.resolve().name

    @property
    def configuration(self) -> str:
        return self.trained.configuration

    @property
    def plans(self) -> dict[str, Any]:
        return self.trained.setup.plans.content

    @property
    def dataset_json(self) -> dict[str, Any]:
        return self.trained.setup.dataset.content

    def checkpoint(self, fold: str) -> Path:
        return self.folder / f"fold_{fold}" / self.checkpoint_name


def find_models(folders: Sequence[Path], folds: Sequence[str], checkpoint_name: str) -> list[Model]:
    """Refused if one cannot be predicted with, or if they are no ensemble."""
    models = [Model(folder, tuple(folds), checkpoint_name) for folder in folders]
    for model in models:
        if len(model.name.split("__")) != 3 or not model.folder.is_dir():
            raise InputError(f"{model.folder} must be nnU-Net's results folder TRAINER__PLANS__CONFIGURATION")
        for fold in model.folds:
            if not model.checkpoint(fold).is_file():
                there = ", ".join(sorted(f.name[5:] for f in model.folder.glob("fold_*")))
                raise InputError(
                    f"{model.checkpoint(fold)} does not exist: train fold {fold}, or choose others with -f (there are "
                    f"{there or 'none'})"
                )
        for problem in unbundled(model):
            raise InputError(f"{model.name} cannot be bundled: {problem}")
    names = [model.name for model in models]
    if len(set(names)) < len(names):
        raise InputError(f"{max(names, key=names.count)} is named twice: an ensemble has different models")
    for model in models[1:]:
        ours, theirs = (m.trained.setup.dataset.said for m in (models[0], model))
        for key in ("labels", "regions_class_order", "channel_names", "file_ending"):
            if getattr(ours, key) != getattr(theirs, key):
                raise InputError(
                    f"{models[0].name} and {model.name} are no ensemble: their dataset.json differ in {key}"
                )
    return models


def unbundled(model: Model) -> Iterator[str]:
    """What a bundle does not carry."""
    setup = model.trained.setup
    if setup.previous_stage is not None:
        yield "the second stage of a cascade needs the first one's segmentations, and a bundle has single models only"
    for kind in (type(setup.plans.reader()), setup.preprocessor()):
        if not kind.__module__.startswith("nnunetv2."):
            yield f"its {kind.__name__} is not a part of nnU-Net, and a bundle carries no code but this plugin's"
