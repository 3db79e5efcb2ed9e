"""nnU-Net's three folders in a place of their own, and its real commands, run there as a user would run them."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

IN_ONE_PROCESS = """
import json, multiprocessing, os, sys
from importlib.metadata import entry_points
context = multiprocessing.get_context
multiprocessing.get_context = lambda method=None: context("fork" if method == "spawn" else method)
for command, *words in json.loads(sys.argv[1]):
    sys.argv = [command, *words]
    os.environ["nnUNet_n_proc_DA"] = "0" if command == "nnUNetv2_train" else "1"  # planning takes it for threads
    (found,) = entry_points(group="console_scripts", name=command)
    if status := found.load()():  # nnunet-prosma's; nnU-Net's have none
        sys.exit(status)
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
        return self._printed([self.python.with_name(command), *map(str, arguments)], status, variables)

    def run_all(self, *commands: Sequence[object], **variables: str) -> str:
        """These commands one after the other in one process, where their start is not what is tested.

        Their own processes are forked: spawned ones would import nnU-Net anew, as each command does.
        """
        words = [[str(word) for word in command] for command in commands]
        return self._printed([self.python, "-c", IN_ONE_PROCESS, json.dumps(words)], 0, variables)

    def _printed(self, command: Sequence[str | Path], status: int | None, variables: Mapping[str, str]) -> str:
        done = subprocess.run(
            command,
            cwd=self.path,
            env=self.environment() | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert status is None or done.returncode == status, f"{command} gave {done.returncode}:\n{done.stdout[-6000:]}"
        return done.stdout

    def plan(self, dataset: int, *arguments: object) -> None:
        self.run_all(planning(dataset, *arguments))

    def train(self, dataset: int, configuration: str, fold: object, trainer: str, *arguments: object, **kw: str) -> str:
        """With the augmentation in the process that trains, so that the trainer's seeds hold for it."""
        command = training(dataset, configuration, fold, trainer, *arguments)
        return self.run(*command, **{"nnUNet_n_proc_DA": "0", **kw})

    def fold(
        self, trainer: str, configuration: str = "3d_fullres", fold: object = 0, plans: str = "nnUNetPlans"
    ) -> Path:
        return next(self.results.glob(f"*/{trainer}__{plans}__{configuration}/fold_{fold}"))


def losses(fold: Path) -> list[float]:
    """The training loss of each epoch, from nnU-Net's own logs."""
    log = "".join(path.read_text() for path in sorted(fold.glob("training_log_*.txt")))
    return [float(value) for value in re.findall(r"train_loss (\S+)", log)]


def narrow(plans_file: Path) -> None:
    """Half the channels, as a user would edit the plans: what is tested is seldom a network's strength."""
    plans = json.loads(plans_file.read_text())
    for configuration in plans["configurations"].values():
        if "architecture" in configuration:
            arguments = configuration["architecture"]["arch_kwargs"]
            arguments["features_per_stage"] = [features // 2 for features in arguments["features_per_stage"]]
    plans_file.write_text(json.dumps(plans))


def planning(dataset: int, *arguments: object) -> list[object]:
    return ["nnUNetv2_plan_and_preprocess", "-d", dataset, "-np", 1, "-npfp", 1, "--no_pbar", *arguments]


def training(dataset: int, configuration: str, fold: object, trainer: str, *arguments: object) -> list[object]:
    return ["nnUNetv2_train", dataset, configuration, fold, "-tr", trainer, "-device", "cpu", *arguments]
