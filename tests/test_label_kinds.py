"""Regions, an ignore label and a cascade, smoothed too, through nnU-Net's real commands."""

import json

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from datasets import write_dataset
from workspace import losses, planning, training

from nnunet_prosma.smooth.dynamics import Prior
from nnunet_prosma.smooth.settings import Smoothing, write_smoothing

pytestmark = pytest.mark.slow


def test_regions_with_two_channels_in_2d(workspace):
    write_dataset(
        workspace.raw,
        "Dataset010_Regions",
        channels=2,
        labels={"background": 0, "whole": [1, 2], "core": 2},
        regions_class_order=[1, 2],
    )
    workspace.run_all(planning(10, "-c", "2d"), training(10, "2d", 0, "nnUNetTrainerProSMAShort"))
    fold = workspace.fold("nnUNetTrainerProSMAShort", "2d")
    first, last = losses(fold)
    assert last < first - 0.1
    assert set(json.loads((fold / "validation" / "summary.json").read_text())["mean"]) == {"(1, 2)", "2"}


def test_an_ignore_label_is_ignored(workspace):
    labels = {"background": 0, "ball": 1, "core": 2, "ignore": 3}
    write_dataset(workspace.raw, "Dataset011_Ignore", labels=labels, ignore_share=0.5)
    trained = training(11, "3d_fullres", 0, "nnUNetTrainerProSMAShort", "--npz")
    workspace.run_all(planning(11, "-c", "3d_fullres"), trained)
    fold = workspace.fold("nnUNetTrainerProSMAShort")
    first, last = losses(fold)
    assert last < first - 0.1
    with np.load(next((fold / "validation").glob("*.npz"))) as saved:
        assert saved["probabilities"].shape[0] == 3  # no output for the ignored label


def test_a_cascade_trains_predicts_and_is_smoothed(workspace):
    write_dataset(workspace.raw, "Dataset012_Cascade", cases=2, size=(24, 32, 32))
    trainer = "nnUNetTrainerProSMAShort"
    workspace.run_all(
        planning(12, "-c", "3d_fullres", "3d_lowres", "-gpu_memory_target", "0.01"),
        *(training(12, stage, "all", trainer) for stage in ("3d_lowres", "3d_cascade_fullres")),
        SHORT_TRAINER_EPOCHS="1",
    )
    log = next(workspace.fold(trainer, "3d_cascade_fullres", "all").glob("training_log_*.txt")).read_text()
    assert "Gates on" in log
    coarse, fine, smoothed = (workspace.path / name for name in ("coarse", "fine", "smoothed"))
    images = ("-i", workspace.raw / "Dataset012_Cascade" / "imagesTs")
    named = ("nnUNetv2_predict", "-d", 12, "-tr", trainer, "-f", "all", *images)
    predict = (*named, "-device", "cpu", "-npp", 0, "-nps", 0, "--disable_tta")
    settings, prior = workspace.path / "SMOOTH.json", Prior(2.0, 1.0)
    write_smoothing(
        settings, Smoothing({"1": "ball", "2": "core"}, {"1": prior, "2": prior}, dataset="Dataset012_Cascade")
    )
    coarse.mkdir()
    fine.mkdir()
    workspace.run_all(
        (*predict, "-c", "3d_lowres", "-o", coarse),
        (*predict, "-c", "3d_cascade_fullres", "-o", fine, "-prev_stage_predictions", coarse, "--save_probabilities"),
        ("nnunet-prosma", "smooth", "apply", settings, "-i", fine, "-o", smoothed),
    )
    assert len(list(fine.glob("*.nii.gz"))) == 2
    for file in fine.glob("*.nii.gz"):
        before, after = (sitk.GetArrayFromImage(sitk.ReadImage(str(f))) for f in (file, smoothed / file.name))
        assert 0 < (before != after).mean() < 0.9
