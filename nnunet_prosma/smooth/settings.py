"""SMOOTH.json: what is asked of each class, and what cross-validation showed of it."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import msgspec

from nnunet_prosma.errors import InputError
from nnunet_prosma.files import write_json_of
from nnunet_prosma.host.check import read_checked
from nnunet_prosma.host.labels import LabelKey
from nnunet_prosma.host.plans import Setup
from nnunet_prosma.smooth.dynamics import Prior

COMMAND = "smooth"


class ClassFile(msgspec.Struct):
    name: str
    lam: float
    sigma_mm: float
    volume: str | tuple[float, float] | None = None


class HeldOut(msgspec.Struct):
    """See Judged in fit.py."""

    name: str
    before: float
    after: float
    interval: tuple[float, float] | None = None
    p: float | None = None


class Evidence(msgspec.Struct):
    cases: int = 0
    folds: list[str] = []
    held_out: list[HeldOut] = []
    left_out: list[str] = []
    """Cases that could not be read, which no number here knows."""


class SmoothFile(msgspec.Struct):
    labels: dict[str, str]
    classes: dict[str, ClassFile]
    eps: float = 1.0
    iterations: int = 10
    dataset: str | None = None
    model: str | None = None
    evidence: Evidence = msgspec.field(default_factory=Evidence)


@dataclass(frozen=True)
class Smoothing:
    """classes: by the label as dataset.json has it; one that is left out is left alone."""

    labels: Mapping[str, str]
    """Names of all labels of the data set that this was fitted on."""
    priors: Mapping[str, Prior]
    eps: float = 1.0
    iterations: int = 10
    evidence: Evidence = field(default_factory=Evidence)
    dataset: str | None = None
    """The data set as nnU-Net names it, and the folder of the trainings it was fitted on; None in files of earlier
    versions."""
    model: str | None = None

    @property
    def idle(self) -> bool:
        """Whether nothing is smoothed: nnU-Net's segmentations stay as they are."""
        return all(prior.idle for prior in self.priors.values())


def write_smoothing(path: Path, smoothing: Smoothing) -> None:
    classes = {label: {"name": smoothing.labels[label], **asdict(prior)} for label, prior in smoothing.priors.items()}
    write_json_of(
        COMMAND,
        path,
        {
            "dataset": smoothing.dataset,
            "model": smoothing.model,
            "labels": dict(smoothing.labels),
            "classes": classes,
            "eps": smoothing.eps,
            "iterations": smoothing.iterations,
            "evidence": msgspec.to_builtins(smoothing.evidence),
        },
    )


def read_smoothing(path: Path) -> Smoothing:
    content, said = read_checked(path, SmoothFile)
    if content.get("made_by") != f"nnunet-prosma {COMMAND}":
        raise InputError(f"{path} must be a SMOOTH.json that nnunet-prosma smooth fit wrote")
    priors = {}
    for label, settings in said.classes.items():
        where = f"{path}: $.classes.{label}"
        if label not in said.labels:
            raise InputError(f"{where} is of a label that $.labels lacks")
        if not 0 <= settings.lam < math.inf or not 0 < settings.sigma_mm < math.inf:
            raise InputError(f"{where} must have a lam of at least 0 and a sigma_mm above 0")
        if isinstance(settings.volume, str) and settings.volume != "own":
            raise InputError(f'{where}.volume must be null, "own" or [least, most] in ml, got {settings.volume!r}')
        if isinstance(settings.volume, tuple) and not 0 <= settings.volume[0] <= settings.volume[1] < math.inf:
            raise InputError(f"{where}.volume must be [least, most] in ml, got {list(settings.volume)}")
        priors[label] = Prior(settings.lam, settings.sigma_mm, settings.volume)
    if not 0 < said.eps < math.inf or said.iterations < 1:
        raise InputError(f"{path}: $.eps must be above 0 and $.iterations at least 1")
    return Smoothing(said.labels, priors, said.eps, said.iterations, said.evidence, said.dataset, said.model)


def refuse_other_data(smoothing: Smoothing, setup: Setup, where: Path) -> None:
    """Settings of one data set mean nothing for another."""
    there, dataset = names_of(setup.dataset.labels), setup.plans.dataset
    if smoothing.dataset not in (None, dataset):
        raise InputError(f"{where} is of {dataset}, but the smoothing was fitted on {smoothing.dataset}")
    if there != dict(smoothing.labels):
        raise InputError(f"{where} has labels {there}, but the smoothing was fitted for {dict(smoothing.labels)}")


def names_of(labels: Mapping[LabelKey, str]) -> dict[str, str]:
    """The names by the label as text, as JSON holds it."""
    return {str(label): name for label, name in labels.items()}
