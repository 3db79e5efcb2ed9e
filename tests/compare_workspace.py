"""Run folders as nnU-Net leaves them, made without a training: for the tests of nnunet-prosma compare."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813

LABELS = {"background": 0, "liver": 1, "tumour": 2}
ARCHITECTURE = {
    "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
    "arch_kwargs": {"n_stages": 3, "features_per_stage": [4, 8, 16]},
    "_kw_requires_import": [],
}


def status_of(report: Path) -> int:
    """The exit status that a written report asks for: 1 where each of its verdicts is that there can be none."""
    verdicts = json.loads((report / "summary.json").read_text())["verdicts"].values()
    return int(all("no conclusion" in verdict["sentence"] for verdict in verdicts))


def plans(**changes: Any) -> dict[str, Any]:
    return {
        "dataset_name": "Dataset009_Toy",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {
            "3d_fullres": {
                "data_identifier": "nnUNetPlans_3d_fullres",
                "batch_size": 2,
                "patch_size": [16, 16, 16],
                "spacing": [1.0, 1.0, 1.0],
                "architecture": ARCHITECTURE,
                **changes,
            }
        },
    }


def counts(dice: float | None, n_ref: float = 100, n_pred: float = 100) -> dict[str, float]:
    """One label of one case in nnU-Net's summary.json."""
    dice = float("nan") if dice is None else dice
    return {
        "Dice": dice,
        "IoU": dice / (2 - dice),
        "n_ref": n_ref,
        "n_pred": n_pred,
        "TP": 0,
        "FP": 0,
        "FN": 0,
        "TN": 0,
    }


def write_run(
    root: Path,
    trainer: str,
    folds: dict[str, dict[str, dict[Any, dict[str, float]]]],
    *,
    dataset_labels: dict[str, Any] = LABELS,
    plan_changes: dict[str, Any] | None = None,
    debug: dict[str, str] | None = None,
    finished: bool = True,
    truth: Path | None = None,
    epochs: int = 3,
    seconds: float = 2.0,
) -> Path:
    """folds: fold -> case -> label -> counts(...). The predictions themselves are written by write_masks."""
    folder = root / f"{trainer}__nnUNetPlans__3d_fullres"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plans.json").write_text(json.dumps(plans(**(plan_changes or {}))))
    dataset = {"labels": dataset_labels, "file_ending": ".nii.gz", "channel_names": {"0": "CT"}, "numTraining": 10}
    if any(isinstance(v, list) for v in dataset_labels.values()):
        dataset["regions_class_order"] = [i + 1 for i, n in enumerate(set(dataset_labels) - {"background", "ignore"})]
    (folder / "dataset.json").write_text(json.dumps(dataset))
    for fold, cases in folds.items():
        place = folder / f"fold_{fold}"
        (place / "validation").mkdir(parents=True, exist_ok=True)
        settings = {"num_epochs": str(epochs), "num_iterations_per_epoch": "250", "torch_version": "2.8.0"}
        (place / "debug.json").write_text(json.dumps({**settings, "gpu_name": "A100", **(debug or {})}))
        if finished:
            (place / "checkpoint_final.pth").write_bytes(b"")
        write_log(place / "training_log_2026_3_9_07_05_01.txt", epochs, seconds)
        entries = [
            {
                "prediction_file": str(place / "validation" / f"{case}.nii.gz"),
                "reference_file": str((truth or root / "truth") / f"{case}.nii.gz"),
                "metrics": {str(label): values for label, values in labels.items()},
            }
            for case, labels in cases.items()
        ]
        (place / "validation" / "summary.json").write_text(
            json.dumps({"metric_per_case": entries, "mean": {}, "foreground_mean": {}})
        )
    return folder


def train_again(fold: Path) -> None:
    """As nnU-Net's trainer leaves a validated fold that was trained a second time and killed before its validation."""
    validated = "2026-03-09 07:05:01.123456: Validation complete \n"
    (fold / "training_log_2026_3_9_08_00_00.txt").write_text(validated)
    write_log(fold / "training_log_2026_3_10_07_05_01.txt", epochs=1, seconds=2.0)


def write_log(path: Path, epochs: int, seconds: float) -> None:
    stamp = "2026-03-09 07:05:01.123456:"
    lines = [f"{stamp} This split has 8 training and 2 validation cases. "]
    for epoch in range(epochs):
        lines += [
            f"{stamp} Epoch {epoch} ",
            f"{stamp} Current learning rate: 0.01 ",
            f"{stamp} train_loss {1 / (1 + epoch):.4f} ",
            f"{stamp} val_loss {-0.5 * epoch / epochs:.4f} ",
            f"{stamp} Pseudo dice [np.float32({0.5 + epoch / 100:.4f}), np.float32(0.3)] ",
            f"{stamp} Epoch time: {seconds + 3 * (epoch == 0):.2f} s ",
        ]
    path.write_text("\n".join(lines) + "\n")


def random_run(
    root: Path,
    trainer: str,
    *,
    cases: int,
    labels: int,
    shift: float = 0.0,
    seed: int = 0,
    folds: int = 5,
    absent: float = 0.0,
    **kwargs: Any,
) -> Path:
    """A run with Dice values around 0.85; the cases' difficulty is the same for every run of one size."""
    difficulty = np.random.default_rng(99).beta(8, 1.5, (cases, labels))
    own = np.random.default_rng(seed).normal(shift, 0.03, (cases, labels))
    dice = (difficulty + own).clip(0, 1)
    n_ref = np.random.default_rng(98).integers(100, 9000, (cases, labels))
    n_pred = (n_ref * (1 + 0.4 * own)).round()
    n_ref[np.random.default_rng(97).random(n_ref.shape) < absent] = 0
    names = {"background": 0, **{f"structure {k + 1}": k + 1 for k in range(labels)}}
    content: dict[str, dict[str, dict[Any, dict[str, float]]]] = {str(f): {} for f in range(folds)}
    for c in range(cases):
        content[str(c % folds)][f"case_{c:04d}"] = {
            k + 1: counts(float(dice[c, k]), int(n_ref[c, k]), int(n_pred[c, k])) for k in range(labels)
        }
    return write_run(root, trainer, content, dataset_labels=names, **kwargs)


def write_mask(path: Path, array: np.ndarray, spacing: Sequence[float] = (1.0, 1.0, 1.0)) -> None:
    """array and spacing in nnU-Net's order of axes, z y x."""
    image = sitk.GetImageFromArray(array.astype(np.uint8))
    image.SetSpacing([float(s) for s in reversed(spacing)])
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))
