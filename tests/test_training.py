"""Through nnUNetv2_train itself, on the CPU, with trainers of two short epochs."""

import json
from importlib.metadata import version

import pytest
import torch
from workspace import losses, training

from nnunet_prosma.watch.record import read

pytestmark = pytest.mark.slow


VARIANTS = (
    "nnUNetTrainerAttentionGateShort",
    "nnUNetTrainerChannelOnlyShort",
    "nnUNetTrainerHardRemovalShort",
    "nnUNetTrainerProSMANoDeepSupervisionShort",
)


@pytest.fixture(scope="module")
def variants(toy):
    """One after the other in one process; the other tests here start the command for each training."""
    toy.run_all(*(training(9, "3d_fullres", 0, trainer) for trainer in VARIANTS))
    return toy


@pytest.mark.parametrize("trainer", VARIANTS)
def test_the_loss_falls_and_the_validation_is_written(variants, trainer):
    toy = variants
    first, last = losses(toy.fold(trainer))
    assert last < first - 0.1
    summary = json.loads((toy.fold(trainer) / "validation" / "summary.json").read_text())
    assert summary["foreground_mean"]["Dice"] > 0
    rows = read(toy.fold(trainer) / "gates.csv").rows
    assert [(row.epoch, row.gate, row.stride) for row in rows] == [
        (epoch, gate, stride) for epoch in range(2) for gate, stride in enumerate(("2x2x2", "1x1x1"))
    ]
    spatial, dense = trainer != "nnUNetTrainerChannelOnlyShort", trainer == "nnUNetTrainerAttentionGateShort"
    parts = {"psi": spatial, "c": not dense, "lam": spatial and not dense, "zeros": spatial and not dense}
    for row in rows:
        assert {name.split("_")[0] for name in row.values} - {"unsupported"} == {n for n, is_ in parts.items() if is_}
    assert (toy.fold(trainer) / "gates.png").is_file()


def test_trained_on_all_cases_the_log_names_the_gates_and_validation_can_be_repeated(toy):
    printed = toy.train(9, "3d_fullres", "all", "nnUNetTrainerProSMAShort")
    log = next(toy.fold("nnUNetTrainerProSMAShort", fold="all").glob("training_log_*.txt")).read_text()
    for text in (printed, log):
        start = text.split("Epoch 0")[0]
        assert "Gates on 2 skips, GateConfig(kind='prosma'" in start
        assert "gates.0: stride 2x2x2, 32 channels, 16 latent, 3,705 parameters" in start
        assert "gates.1: stride 1x1x1, 16 channels, 8 latent, 1,409 parameters" in start

    debug = json.loads((toy.fold("nnUNetTrainerProSMAShort", fold="all") / "debug.json").read_text())
    assert debug["nnunet_version"] == version("nnunetv2")
    assert debug["nnunet_prosma_version"] == version("nnunet-prosma")

    folder = toy.fold("nnUNetTrainerProSMAShort", fold="all") / "validation"
    before = {path.name: path.read_bytes() for path in folder.glob("*.nii.gz")}
    assert len(before) == 10
    for path in folder.iterdir():
        path.unlink()
    toy.train(9, "3d_fullres", "all", "nnUNetTrainerProSMAShort", "--val", "--npz")
    assert {path.name: path.read_bytes() for path in folder.glob("*.nii.gz")} == before
    assert len(list(folder.glob("*.npz"))) == 10


def test_plans_that_name_the_gated_class_train_with_nnunets_own_trainer(toy):
    """And the plans' settings hold for our trainer too, with its own switch on top."""
    folder = toy.preprocessed / "Dataset009_Toy"
    plans = json.loads((folder / "nnUNetPlans.json").read_text())
    plans["plans_name"] = "gatedPlans"
    architecture = plans["configurations"]["3d_fullres"]["architecture"]
    architecture["network_class_name"] = "nnunet_prosma.architectures.ProSMAUNet"
    architecture["arch_kwargs"]["gate"] = {"dilations": [1, 3], "lam": 0.1}
    (folder / "gatedPlans.json").write_text(json.dumps(plans))

    trainers = ("nnUNetTrainerShort", "nnUNetTrainerSpatialOnlyShort")
    toy.run_all(*(training(9, "3d_fullres", 0, trainer, "-p", "gatedPlans") for trainer in trainers))
    for trainer in trainers:
        fold = toy.fold(trainer, plans="gatedPlans")
        weights = torch.load(fold / "checkpoint_final.pth", weights_only=False)["network_weights"]
        held = {key.split(".")[3] for key in weights if key.startswith("decoder.gates.0.")}
        shared = {"skip_proj", "signal_proj", "branches", "fuse", "theta", "psi"}
        assert held == (shared | {"mlp"} if trainer == "nnUNetTrainerShort" else shared)
        assert weights["decoder.gates.0.fuse.weight"].shape[1] == 2 * 16
        assert 0 < torch.nn.functional.softplus(weights["decoder.gates.0.theta"]).mean() < 0.3
    assert json.loads((folder / "gatedPlans.json").read_text()) == plans


def test_the_three_dimensional_p_unet_trains_on_nnunets_patches(toy):
    printed = toy.train(9, "3d_fullres", 1, "nnUNetTrainerPUNetShort", "--val_best")
    planned = json.loads((toy.preprocessed / "Dataset009_Toy" / "nnUNetPlans.json").read_text())
    planned = planned["configurations"]["3d_fullres"]
    folder = toy.fold("nnUNetTrainerPUNetShort", fold=1)
    saved = json.loads((folder.parent / "plans.json").read_text())["configurations"]["3d_fullres"]
    assert saved["architecture"]["network_class_name"] == "nnunet_prosma.architectures.PUNet"
    assert saved["patch_size"] == [-(-size // 16) * 16 for size in planned["patch_size"]]
    assert saved["batch_size"] == planned["batch_size"]
    assert printed.count("Validation IoU, pooled over each batch") == 2
    assert len(list((folder / "validation").glob("*.nii.gz"))) == 2
    weights = torch.load(folder / "checkpoint_best.pth", weights_only=False)
    assert weights["network_weights"]["encoder.stages.0.conv1.conv.weight"].ndim == 5
    assert weights["inference_allowed_mirroring_axes"] is None
