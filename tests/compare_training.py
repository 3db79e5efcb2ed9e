"""Two short 5-fold trainings by nnU-Net's own commands, on ten noisy balls."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from compare_workspace import write_mask

EXTENSION = Path(__file__).parent / "compare_extension"
TRAINERS = ("nnUNetTrainerShort", "nnUNetTrainerProSMAShort")


@dataclass
class Trained:
    path: Path

    @property
    def raw(self) -> Path:
        return self.path / "raw"

    @property
    def preprocessed(self) -> Path:
        return self.path / "preprocessed"

    @property
    def results(self) -> Path:
        return self.path / "results"

    def run(self, command: str, *arguments: object, status: int = 0) -> str:
        augmenting = "0" if command == "nnUNetv2_train" else "1"  # 0: in the process that trains
        variables = {"nnUNet_n_proc_DA": augmenting, "nnUNet_def_n_proc": "1", "OMP_NUM_THREADS": "1"}
        variables["nnUNet_extTrainer"] = str(EXTENSION)
        for folder in (self.raw, self.preprocessed, self.results):
            folder.mkdir(parents=True, exist_ok=True)
            variables[f"nnUNet_{folder.name}"] = str(folder)
        done = subprocess.run(
            [Path(sys.executable).with_name(command), *map(str, arguments)],
            env=os.environ | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == status, done.stdout[-6000:]
        return done.stdout


def train(path: Path) -> Trained:
    trained = Trained(path)
    folder = trained.raw / "Dataset009_Toy"
    rng = np.random.default_rng(0)
    for number in range(10):
        grid = np.indices((16, 24, 24))
        centre = (8, *rng.uniform(8, 16, 2))
        distance = np.sqrt(sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)))
        labels = (distance < 6).astype(np.uint8) + (distance < 3)
        image = (80 * labels + rng.normal(40, 8, labels.shape)).clip(0, 255)
        write_mask(folder / "imagesTr" / f"case_{number:03}_0000.nii.gz", image)
        write_mask(folder / "labelsTr" / f"case_{number:03}.nii.gz", labels)
    description = {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "ball": 1, "core": 2}}
    (folder / "dataset.json").write_text(json.dumps({**description, "numTraining": 10, "file_ending": ".nii.gz"}))
    trained.run("nnUNetv2_plan_and_preprocess", "-d", 9, "-c", "3d_fullres", "-np", 1, "-npfp", 1, "--no_pbar")
    for trainer in TRAINERS:
        for fold in range(5):
            trained.run("nnUNetv2_train", 9, "3d_fullres", fold, "-tr", trainer, "-device", "cpu")
    return trained
