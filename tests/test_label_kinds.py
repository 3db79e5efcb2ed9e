"""Regions, an ignore label and a cascade, through nnU-Net's real commands."""

import json

import numpy as np
import pytest
from datasets import write_dataset
from workspace import losses

pytestmark = pytest.mark.slow


def test_regions_with_two_channels_in_2d(workspace):
    write_dataset(
        workspace.raw,
        "Dataset010_Regions",
        channels=2,
        labels={"background": 0, "whole": [1, 2], "core": 2},
        regions_class_order=[1, 2],
    )
    workspace.plan(10, "-c", "2d")
    workspace.train(10, "2d", 0, "nnUNetTrainerProSMAShort")
    fold = workspace.fold("nnUNetTrainerProSMAShort", "2d")
    first, last = losses(fold)
    assert last < first - 0.1
    assert set(json.loads((fold / "validation" / "summary.json").read_text())["mean"]) == {"(1, 2)", "2"}


def test_an_ignore_label_is_ignored(workspace):
    labels = {"background": 0, "ball": 1, "core": 2, "ignore": 3}
    write_dataset(workspace.raw, "Dataset011_Ignore", labels=labels, ignore_share=0.5)
    workspace.plan(11, "-c", "3d_fullres")
    workspace.train(11, "3d_fullres", 0, "nnUNetTrainerProSMAShort", "--npz")
    fold = workspace.fold("nnUNetTrainerProSMAShort")
    first, last = losses(fold)
    assert last < first - 0.1
    with np.load(next((fold / "validation").glob("*.npz"))) as saved:
        assert saved["probabilities"].shape[0] == 3  # no output for the ignored label


def test_a_cascade_trains_and_predicts(workspace):
    write_dataset(workspace.raw, "Dataset012_Cascade", size=(24, 32, 32))
    workspace.plan(12, "-c", "3d_fullres", "3d_lowres", "-gpu_memory_target", "0.01")
    trainer = "nnUNetTrainerProSMAShort"
    workspace.train(12, "3d_lowres", "all", trainer)
    printed = workspace.train(12, "3d_cascade_fullres", "all", trainer)
    assert "Gates on" in printed
    coarse, fine = workspace.path / "coarse", workspace.path / "fine"
    named = ("-d", 12, "-tr", trainer, "-f", "all", "-i", workspace.raw / "Dataset012_Cascade" / "imagesTs")
    predict = (*named, "-device", "cpu", "-npp", 0, "-nps", 0, "--disable_tta")
    coarse.mkdir()
    fine.mkdir()
    workspace.run("nnUNetv2_predict", *predict, "-c", "3d_lowres", "-o", coarse)
    previous = ("-prev_stage_predictions", coarse)
    workspace.run("nnUNetv2_predict", *predict, "-c", "3d_cascade_fullres", "-o", fine, *previous)
    assert len(list(fine.glob("*.nii.gz"))) == 2
