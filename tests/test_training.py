"""Through nnUNetv2_train itself, on the CPU, with trainers of two short epochs."""

import json
import re

import numpy as np
import pytest
import torch
from datasets import write_dataset

pytestmark = pytest.mark.slow
toy_group = pytest.mark.xdist_group("toy")


def losses(folder):
    log = "".join(path.read_text() for path in sorted(folder.glob("training_log_*.txt")))
    return [float(value) for value in re.findall(r"train_loss (\S+)", log)]


def epochs(folder, name="checkpoint_final.pth"):
    return torch.load(folder / name, weights_only=False)["logging"]


@toy_group
@pytest.mark.parametrize(
    "trainer",
    [
        "nnUNetTrainerAttentionGateShort",
        "nnUNetTrainerChannelOnlyShort",
        "nnUNetTrainerHardRemovalShort",
        "nnUNetTrainerProSMANoDeepSupervisionShort",
    ],
)
def test_the_loss_falls_and_the_validation_is_written(toy, trainer):
    toy.train(9, "3d_fullres", 0, trainer)
    first, last = losses(toy.fold(trainer))
    assert last < first - 0.1
    summary = json.loads((toy.fold(trainer) / "validation" / "summary.json").read_text())
    assert summary["foreground_mean"]["Dice"] > 0


@toy_group
def test_trained_on_all_cases_the_log_names_the_gates_and_validation_can_be_repeated(toy):
    printed = toy.train(9, "3d_fullres", "all", "nnUNetTrainerProSMAShort")
    log = next(toy.fold("nnUNetTrainerProSMAShort", fold="all").glob("training_log_*.txt")).read_text()
    for text in (printed, log):
        start = text.split("Epoch 0")[0]
        assert "Gates on 2 skips, GateConfig(kind='prosma'" in start
        assert "gates.0: stride 2x2x2, 64 channels, 32 latent, 12,017 parameters" in start
        assert "gates.1: stride 1x1x1, 32 channels, 16 latent, 3,705 parameters" in start

    folder = toy.fold("nnUNetTrainerProSMAShort", fold="all") / "validation"
    before = {path.name: path.read_bytes() for path in folder.glob("*.nii.gz")}
    assert len(before) == 10
    for path in folder.iterdir():
        path.unlink()
    toy.train(9, "3d_fullres", "all", "nnUNetTrainerProSMAShort", "--val", "--npz")
    assert {path.name: path.read_bytes() for path in folder.glob("*.nii.gz")} == before
    assert len(list(folder.glob("*.npz"))) == 10


@toy_group
def test_plans_that_name_the_gated_class_train_with_nnunets_own_trainer(toy):
    """And the plans' settings hold for our trainer too, with its own switch on top."""
    folder = toy.preprocessed / "Dataset009_Toy"
    plans = json.loads((folder / "nnUNetPlans.json").read_text())
    plans["plans_name"] = "gatedPlans"
    architecture = plans["configurations"]["3d_fullres"]["architecture"]
    architecture["network_class_name"] = "nnunet_prosma.architectures.ProSMAUNet"
    architecture["arch_kwargs"]["gate"] = {"dilations": [1, 3], "lam": 0.1}
    (folder / "gatedPlans.json").write_text(json.dumps(plans))

    for trainer in ("nnUNetTrainerShort", "nnUNetTrainerSpatialOnlyShort"):
        toy.train(9, "3d_fullres", 0, trainer, "-p", "gatedPlans")
        fold = toy.fold(trainer, plans="gatedPlans")
        weights = torch.load(fold / "checkpoint_final.pth", weights_only=False)["network_weights"]
        held = {key.split(".")[3] for key in weights if key.startswith("decoder.gates.0.")}
        shared = {"skip_proj", "signal_proj", "branches", "fuse", "theta", "psi"}
        assert held == (shared | {"mlp"} if trainer == "nnUNetTrainerShort" else shared)
        assert weights["decoder.gates.0.fuse.weight"].shape[1] == 2 * 32
        assert 0 < torch.nn.functional.softplus(weights["decoder.gates.0.theta"]).mean() < 0.3
    assert json.loads((folder / "gatedPlans.json").read_text()) == plans


@toy_group
def test_a_training_killed_and_continued_goes_on_as_nnunets_own_does(toy):
    apart = {}
    for trainer in ("nnUNetTrainerShort", "nnUNetTrainerProSMAShort"):
        folder = toy.results / "Dataset009_Toy" / f"{trainer}__nnUNetPlans__3d_fullres" / "fold_4"
        toy.train(9, "3d_fullres", 4, trainer, SHORT_TRAINER_EPOCHS="3")
        unbroken = epochs(folder)
        for path in folder.glob("*"):
            if path.is_file():
                path.unlink()
        toy.train(9, "3d_fullres", 4, trainer, status=-9, SHORT_TRAINER_EPOCHS="3", SHORT_TRAINER_DIES_IN="2")
        assert not (folder / "checkpoint_final.pth").exists()
        assert len(epochs(folder, "checkpoint_latest.pth")["train_losses"]) == 2
        toy.train(9, "3d_fullres", 4, trainer, "--c", SHORT_TRAINER_EPOCHS="3")
        continued = epochs(folder)
        assert continued["train_losses"][:2] == unbroken["train_losses"][:2]
        apart[trainer] = abs(continued["train_losses"][2] - unbroken["train_losses"][2])
        assert len(continued["train_losses"]) == 3
    assert apart["nnUNetTrainerProSMAShort"] <= 2 * apart["nnUNetTrainerShort"] + 1e-6


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
    predict = (*named, "-device", "cpu", "-npp", 1, "-nps", 1, "--disable_tta")
    workspace.run("nnUNetv2_predict", *predict, "-c", "3d_lowres", "-o", coarse)
    previous = ("-prev_stage_predictions", coarse)
    workspace.run("nnUNetv2_predict", *predict, "-c", "3d_cascade_fullres", "-o", fine, *previous)
    assert len(list(fine.glob("*.nii.gz"))) == 2
