"""nnU-Net's three folders in a place of their own, and its real commands, run there as a user would run them."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

TRAIN_ALL = """
import json, multiprocessing, sys
context = multiprocessing.get_context
multiprocessing.get_context = lambda method=None: context("fork" if method == "spawn" else method)
from nnunetv2.run.run_training import run_training_entry
for words in json.loads(sys.argv[1]):
    sys.argv[1:] = words
    run_training_entry()
"""
EXTENSION = Path(__file__).parent / "extension"
"""The tests' own short trainers, which nnU-Net is told of as a user's: by nnUNet_extTrainer."""


def run_as_newcomer(*command: object, **variables: str) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of a command run where no folder of the project and no variable can help it."""
    own = {key: value for key, value in os.environ.items() if not key.startswith(("nnUNet", "NNUNET", "PYTHON"))}
    done = subprocess.run([*map(str, command)], cwd="/", env=own | variables, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


@dataclass
class Workspace:
    path: Path
    python: Path = Path(sys.executable)
    variables: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for folder in (self.raw, self.preprocessed, self.results):
            folder.mkdir(parents=True, exist_ok=True)

    @property
    def raw(self) -> Path:
        return self.path / "raw"

    @property
    def preprocessed(self) -> Path:
        return self.path / "preprocessed"

    @property
    def results(self) -> Path:
        return self.path / "results"

    def environment(self) -> dict[str, str]:
        return os.environ | {
            "nnUNet_raw": str(self.raw),
            "nnUNet_preprocessed": str(self.preprocessed),
            "nnUNet_results": str(self.results),
            "nnUNet_extTrainer": str(EXTENSION),
            "nnUNet_n_proc_DA": "1",
            "nnUNet_def_n_proc": "1",
            "OMP_WAIT_POLICY": "passive",  # two trainings side by side must not spin against each other
            **self.variables,
        }

    def run(self, command: str, *arguments: object, status: int | None = 0, **variables: str) -> str:
        """What the command prints, both streams; another exit status than the one expected fails the test."""
        done = subprocess.run(
            [self.python.with_name(command), *map(str, arguments)],
            cwd=self.path,
            env=self.environment() | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert status is None or done.returncode == status, f"{command} gave {done.returncode}:\n{done.stdout[-6000:]}"
        return done.stdout

    def plan(self, dataset: int, *arguments: object) -> None:
        self.run("nnUNetv2_plan_and_preprocess", "-d", dataset, "-np", 1, "-npfp", 1, "--no_pbar", *arguments)

    def train(self, dataset: int, configuration: str, fold: object, trainer: str, *arguments: object, **kw: str) -> str:
        """With the augmentation in the process that trains, so that the trainer's seeds hold for it."""
        named = (dataset, configuration, fold, "-tr", trainer, "-device", "cpu", *arguments)
        return self.run("nnUNetv2_train", *named, **{"nnUNet_n_proc_DA": "0", **kw})

    def train_all(self, trainings: Sequence[Sequence[object]], **variables: str) -> None:
        """nnUNetv2_train with each of these arguments, in one process, where its start is not what is tested.

        Its validations export in forked processes: a spawned one would import nnU-Net anew, as each command does.
        """
        words = [[*map(str, training), "-device", "cpu"] for training in trainings]
        done = subprocess.run(
            [self.python, "-c", TRAIN_ALL, json.dumps(words)],
            cwd=self.path,
            env=self.environment() | {"nnUNet_n_proc_DA": "0"} | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, done.stdout[-6000:]

    def fold(
        self, trainer: str, configuration: str = "3d_fullres", fold: object = 0, plans: str = "nnUNetPlans"
    ) -> Path:
        return next(self.results.glob(f"*/{trainer}__{plans}__{configuration}/fold_{fold}"))


def losses(fold: Path) -> list[float]:
    """The training loss of each epoch, from nnU-Net's own logs."""
    log = "".join(path.read_text() for path in sorted(fold.glob("training_log_*.txt")))
    return [float(value) for value in re.findall(r"train_loss (\S+)", log)]
