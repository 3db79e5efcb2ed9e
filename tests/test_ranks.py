"""Signals and checkpoints of a training on several ranks (nnUNetv2_train -num_gpus), pretended on the CPU."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from nnunet_prosma.host.progress import progress_of
from nnunet_prosma.host.saving import STOPPED

pytestmark = pytest.mark.slow


def test_a_signal_to_the_command_stops_every_rank_after_the_same_epoch_and_it_goes_on(toy):
    program = Path(__file__).with_name("two_ranks.py")
    named = ("9", "3d_fullres", "2", "-tr", "nnUNetTrainerRanksShort", "-num_gpus", "2", "-device", "cuda")
    settings = {"nnUNet_n_proc_DA": "0", "SHORT_TRAINER_EPOCHS": "3", "SHORT_TRAINER_SAVES_EVERY": "50"}

    def train(*further, **variables):
        env = {**toy.environment(), **settings, "PYTHONPATH": str(program.parent), **variables}
        env["PYTHONPATH"] += os.pathsep + os.environ.get("PYTHONPATH", "")
        command = [sys.executable, program, *named, *further]
        return subprocess.run(
            command, cwd=toy.path, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    fold = toy.results / "Dataset009_Toy" / "nnUNetTrainerRanksShort__nnUNetPlans__3d_fullres" / "fold_2"
    done = train(SHORT_TRAINER_SIGNALLED_IN="1")
    assert done.returncode == STOPPED, done.stdout[-6000:]
    assert "I am local rank 1" in done.stdout
    assert progress_of(fold).kept == 2
    log = "".join(path.read_text() for path in fold.glob("training_log_*.txt"))
    assert "stopped by SIGUSR1 after epoch 1: no epoch is lost" in log

    done = train("--c")
    assert done.returncode == 0, done.stdout[-6000:]
    log = "".join(path.read_text() for path in sorted(fold.glob("training_log_*.txt")))
    assert re.findall(r": Epoch (\d+) *\n", log) == ["0", "1", "2"]
    assert (fold / "validation" / "summary.json").is_file()
