"""One training of a study: where nnU-Net keeps it, how far it is, and nnU-Net's command that takes it to its end."""

from dataclasses import dataclass
from pathlib import Path

from nnunet_prosma.errors import InputError
from nnunet_prosma.files import read_json
from nnunet_prosma.host.datasets import folder_of
from nnunet_prosma.host.marks import SUMMARY, validated_checkpoint
from nnunet_prosma.host.trained import BEST, FINAL, LATEST
from nnunet_prosma.host.training_log import retrained
from nnunet_prosma.study.setting import Setting
from nnunet_prosma.study.spec import Arm, Study


@dataclass(frozen=True)
class Run:
    arm: Arm
    fold: int
    folder: Path
    """nnU-Net's: DATASET/TRAINER__PLANS__CONFIGURATION/fold_X."""
    repeat: int | None = None
    """Number of the repeat, from 1 on; None where the study does not speak of repeats."""

    @property
    def key(self) -> str:
        key = f"{self.folder.parent.name}__fold_{self.fold}"
        return key if self.repeat is None else f"{key}__repeat_{self.repeat}"

    @property
    def results(self) -> Path:
        """The nnUNet_results folder that it stands in."""
        return self.folder.parents[2]

    @property
    def title(self) -> str:
        repeat = "" if self.repeat is None else f", repeat {self.repeat}"
        return f"fold {self.fold}{repeat}, {self.arm.row} ({self.arm.trainer})"

    @property
    def lock(self) -> Path:
        """The file that says who is at work on it, whichever study that is."""
        return self.folder.with_name(f".{self.folder.name}.lock")

    @property
    def trained(self) -> bool:
        return (self.folder / FINAL).is_file()

    @property
    def finished(self) -> bool:
        """Whether it is trained and validated, by nnU-Net's own marks; a summary that a kill cut off is none.

        Nor is one that a later training left, as nnU-Net's trainer does until it has validated again.
        """
        try:
            return self.trained and bool(read_json(self.folder / SUMMARY)) and not retrained(self.folder)
        except InputError:
            return False

    @property
    def begun(self) -> bool:
        return any((self.folder / name).is_file() for name in (LATEST, BEST))


def runs_of(setting: Setting) -> list[Run]:
    """Repeat by repeat and fold by fold, so that what is finished early can be compared."""
    study = setting.study
    runs = []
    for repeat in [None] if study.repeats is None else range(1, study.repeats + 1):
        if repeat is None:
            results = folder_of("nnUNet_results", "a study trains with nnU-Net").absolute()
        else:
            results = setting.output / "results" / f"repeat_{repeat}"
        for fold in study.folds:
            for arm in study.arms:
                name = f"{arm.trainer}__{arm.plans}__{study.configuration}"
                runs.append(Run(arm, fold, results / setting.dataset / name / f"fold_{fold}", repeat))
    return runs


def named(key: str, runs: list[Run]) -> Run:
    for run in runs:
        if run.key == key:
            return run
    raise InputError(f"the study has no run {key}; it has {', '.join(run.key for run in runs)}")


def state(run: Run, study: Study, validated: str | None) -> str:
    """finished, to validate, to continue or to train. validated: which checkpoint this study saw validated, if it did.

    A training of ours, in whichever study, has a mark of the checkpoint that was validated last. Of a run that somebody
    else finished the final one is assumed, nnU-Net's default, so it is validated again where the study wants the best.
    """
    marked = validated_checkpoint(run.folder)
    if marked is not None:
        validated = marked.removeprefix("checkpoint_").removesuffix(".pth")
    if run.finished and (validated or "final") == study.checkpoint:
        return "finished"
    if run.trained:
        return "to validate"
    return "to continue" if run.begun else "to train"


def command(run: Run, setting: Setting, how: str) -> list[str]:
    flags = {"to validate": ["--val"], "to continue": ["--c"], "to train": []}[how]
    best = ["--val_best"] * (setting.study.checkpoint == "best")
    named = ["-tr", run.arm.trainer, "-p", run.arm.plans, "-device", setting.device]
    several = ["-num_gpus", str(setting.num_gpus)] * (setting.num_gpus > 1)
    where = [setting.dataset, setting.study.configuration, str(run.fold)]
    return ["nnUNetv2_train", *where, *named, *several, *flags, *best]
