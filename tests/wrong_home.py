"""A small home with everything that the commands read, whole: wrong inputs are made of it, one damage at a time."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from compare_workspace import counts, write_run
from hand_built import plans, write_image, write_model
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from PIL import Image

BUNDLE = Path(__file__).parent / "fixtures" / "v0_1" / "bundle"
NAME = "Dataset009_Toy"
STUDY = """title: t
dataset: 9
configuration: 3d_fullres
folds: [0]
arms:
  - {row: a, trainer: nnUNetTrainer}
  - {row: b, trainer: nnUNetTrainerProSMA}
"""


REPORT = {
    "nnunet_prosma": "0.1.0",
    "verdicts": {"B": {"outcome": "better"}},
    "statistics": [
        {
            "baseline": "A",
            "candidate": "B",
            "metric": "dice",
            "unit": "",
            "primary": True,
            "n": 12,
            "mean_difference": 0.1,
            "mean_interval": {"low": 0.0, "high": 0.2},
            "error": 0.05,
        }
    ],
}


def make_home(home: Path) -> None:
    planned = plans(3, [8, 8, 16])
    dataset = {"channel_names": {"0": "MR"}, "labels": {"background": 0, "bright": 1}, "file_ending": ".nii.gz"}
    statistics = dict.fromkeys(("max", "mean", "median", "min", "percentile_00_5", "percentile_99_5", "std"), 1.0)
    fingerprint = {
        "spacings": [[1.0, 1.0, 1.0]] * 2,
        "shapes_after_crop": [[16, 16, 16]] * 2,
        "median_relative_size_after_cropping": 1.0,
        "foreground_intensity_properties_per_channel": {"0": statistics},
    }
    splits = [{"train": ["case"], "val": ["other"]}]
    write_json(home / "raw" / NAME / "dataset.json", dataset | {"numTraining": 2})
    for name in ("case", "other"):
        write_image(home / "raw" / NAME / "imagesTr" / f"{name}_0000.nii.gz", np.ones((16, 16, 16), np.float32))
        write_image(home / "raw" / NAME / "labelsTr" / f"{name}.nii.gz", np.ones((16, 16, 16), np.uint8))
    preprocessed = home / "preprocessed" / NAME
    for name, content in (("nnUNetPlans", planned), ("dataset", dataset), ("dataset_fingerprint", fingerprint)):
        write_json(preprocessed / f"{name}.json", content)
    write_json(preprocessed / "splits_final.json", splits)
    write_model(home / "results", planned).rename(home / "model__nnUNetPlans__3d_fullres")
    shutil.rmtree(home / "results")
    (home / "results").mkdir()
    write_vanilla(home / "vanilla.pth", planned, dataset)
    for trainer in ("nnUNetTrainer", "nnUNetTrainerProSMA"):
        write_run(home / "runs", trainer, {"0": {"case": {1: counts(0.5), 2: counts(0.75)}}})
    shutil.copytree(BUNDLE, home / "bundle")
    write_image(home / "images" / "case_0000.nii.gz", np.ones((8, 8, 16), np.float32))
    for folder in ("predictions", "truth"):
        write_image(home / folder / "case.nii.gz", np.ones((4, 4, 4), np.uint8))
    for kind in ("benign", "malignant"):
        (home / "busi" / kind).mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (20, 20), (9, 9, 9)).save(home / "busi" / kind / f"{kind} ({number}).png")
            Image.new("L", (20, 20), 255).save(home / "busi" / kind / f"{kind} ({number})_mask.png")
    for name in ("one", "two"):
        write_json(home / "reports" / name / "summary.json", REPORT | {"runs": [{"dataset": name}]})
    (home / "study.yaml").write_text(STUDY)
    (home / "file").write_text("a file")


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_vanilla(path: Path, planned: dict[str, Any], dataset: dict[str, Any]) -> None:
    manager = PlansManager(planned)
    configuration = manager.get_configuration("3d_fullres")
    network = nnUNetTrainer.build_network_architecture(manager, configuration, 1, 2, True)
    torch.save(
        {
            "network_weights": network.state_dict(),
            "trainer_name": "nnUNetTrainer",
            "init_args": {"plans": planned, "configuration": "3d_fullres", "fold": 0, "dataset_json": dataset},
            "current_epoch": 5,
        },
        path,
    )


def edit(path: Path, place: str, value: Any) -> None:
    """Sets what stands at a/b/0/c in a JSON file."""
    content = json.loads(path.read_text())
    *above, last = place.split("/")
    node = content
    for key in above:
        node = node[int(key) if isinstance(node, list) else key]
    last = int(last) if isinstance(node, list) else last
    if value is ...:
        del node[last]
    else:
        node[last] = value
    path.write_text(json.dumps(content))


def edit_checkpoint(path: Path, place: str, value: Any) -> None:
    content = torch.load(path, weights_only=True)
    *above, last = place.split("/")
    node = content
    for key in above:
        node = node[key]
    if value is ...:
        del node[last]
    else:
        node[last] = value
    torch.save(content, path)


def snapshot(home: Path) -> dict[str, bytes | None]:
    """Every file and folder with its content."""
    return {
        str(path.relative_to(home)): path.read_bytes() if path.is_file() else None for path in sorted(home.rglob("*"))
    }
