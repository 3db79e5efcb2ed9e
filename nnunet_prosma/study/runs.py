"""One training of a study: how far it is, and what takes it to its end."""

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nnunet_prosma.host.processes import run
from nnunet_prosma.progress import progress_bar
from nnunet_prosma.study.spec import Arm, Study


@dataclass(frozen=True)
class Run:
    arm: Arm
    fold: int
    folder: Path
    """nnU-Net's: DATASET/TRAINER__PLANS__CONFIGURATION/fold_X."""

    @property
    def key(self) -> str:
        return f"{self.folder.parent.name}__fold_{self.fold}"

    @property
    def trained(self) -> bool:
        return (self.folder / "checkpoint_final.pth").is_file()

    @property
    def finished(self) -> bool:
        """By nnU-Net's own marks."""
        return self.trained and (self.folder / "validation" / "summary.json").is_file()

    @property
    def begun(self) -> bool:
        return any((self.folder / f"checkpoint_{name}.pth").is_file() for name in ("latest", "best"))


def runs_of(study: Study, dataset: str) -> list[Run]:
    """Fold by fold, so that what is finished early can be compared."""
    from nnunetv2.utilities.file_path_utilities import get_output_folder

    return [
        Run(arm, fold, Path(get_output_folder(dataset, arm.trainer, arm.plans, study.configuration, fold)))
        for fold in study.folds
        for arm in study.arms
    ]


def state(run: Run, study: Study, checkpoints: Mapping[str, str]) -> str:
    """finished, to validate, to continue or to train. checkpoints: which one each run known to us was validated with.

    nnU-Net writes no mark of the checkpoint that it validated. Of a run that somebody else finished the final one is
    assumed, its default, so it is validated again where the study wants the best one.
    """
    if run.finished and checkpoints.get(run.key, "final") == study.checkpoint:
        return "finished"
    if run.trained:
        return "to validate"
    return "to continue" if run.begun else "to train"


def command(run: Run, study: Study, dataset: str, device: str, how: str) -> list[str]:
    flags = {"to validate": ["--val"], "to continue": ["--c"], "to train": []}[how]
    best = ["--val_best"] * (study.checkpoint == "best")
    named = ["-tr", run.arm.trainer, "-p", run.arm.plans, "-device", device]
    return ["nnUNetv2_train", dataset, study.configuration, str(run.fold), *named, *flags, *best]


def carry_out(words: list[str], log: Path, device: str, held: int | None) -> float:
    """Seconds that the command took; its output goes to the log. held: a file descriptor that it keeps open."""
    calm = {"OMP_WAIT_POLICY": "PASSIVE"} if device == "cpu" else {}
    log.parent.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    with progress_bar(unit="epoch", desc="starting", leave=False) as bar:

        def follow(line: str) -> None:
            if re.search(r"Epoch time: ([\d.]+) s", line):
                bar.set_description("training")
                bar.update()
            elif "predicting " in line:
                bar.set_description("validating")

        env = {**calm, **os.environ, "PYTHONUNBUFFERED": "1"}
        run(words, log, env, follow, pass_fds=() if held is None else (held,))
    return time.monotonic() - begin
