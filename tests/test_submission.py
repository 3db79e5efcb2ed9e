"""From one short training to a warm start, a bundle and a container, through the real commands."""

import json

import pytest
import torch
from datasets import write_dataset
from workspace import Workspace, losses

from nnunet_prosma import command

pytestmark = pytest.mark.slow

VANILLA, GATED = "nnUNetTrainerShort", "nnUNetTrainerProSMAShort"
NAME = "Dataset011_Two"


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Workspace:
    """Two channels in 2D, trained without gates, warm started, and trained on with gates."""
    workspace = Workspace(tmp_path_factory.mktemp("submission"))
    write_dataset(
        workspace.raw,
        NAME,
        cases=5,
        size=(8, 24, 28),
        spacing=(3.0, 1.0, 1.2),
        channels=2,
        channel_names={"0": "T1", "1": "FLAIR"},
    )
    workspace.plan(11, "-c", "2d")
    workspace.train(11, "2d", 0, VANILLA)
    checkpoint = workspace.fold(VANILLA, "2d") / "checkpoint_final.pth"
    before = checkpoint.read_bytes()
    start = workspace.path / "START.pth"
    workspace.said = workspace.run("nnunet-prosma", "warm-start", checkpoint, "-o", start, "-tr", GATED)
    assert checkpoint.read_bytes() == before
    workspace.log = workspace.train(11, "2d", 0, GATED, "-pretrained_weights", start)
    return workspace


def test_a_warm_start_goes_through_nnunets_own_pretrained_weights_and_starts_where_the_other_ended(trained):
    difference = float(trained.said.split("differ from the checkpoint's by ")[1].split()[0])
    assert difference < 1e-5
    assert "Segmentation layers are those of the warm start" in trained.log
    assert losses(trained.fold(GATED, "2d"))[0] < losses(trained.fold(VANILLA, "2d"))[-1] - 0.05
    start = torch.load(trained.path / "START.pth", weights_only=True)["network_weights"]
    final = torch.load(trained.fold(GATED, "2d") / "checkpoint_final.pth", weights_only=False)["network_weights"]
    moved = {key: (start[key] - final[key]).abs().max() for key in start if "gates" in key}
    assert all(change > 0 for change in moved.values())


def test_plans_that_do_not_fit_are_refused_with_the_difference(trained, monkeypatch, capsys):
    folder = trained.preprocessed / NAME
    plans = json.loads((folder / "nnUNetPlans.json").read_text())
    plans["plans_name"] = "widerPlans"
    plans["configurations"]["2d"]["architecture"]["arch_kwargs"]["features_per_stage"][0] = 40
    (folder / "widerPlans.json").write_text(json.dumps(plans))
    for variable, value in trained.environment().items():
        monkeypatch.setenv(variable, value)
    checkpoint = trained.fold(VANILLA, "2d") / "checkpoint_final.pth"
    output = trained.path / "never.pth"
    named = ["warm-start", str(checkpoint), "-o", str(output)]
    assert command.main([*named, "-d", "11", "-p", "widerPlans"]) == 2
    assert "its features_per_stage is [32, 64, 128], the training's [40, 64, 128]" in capsys.readouterr().err
    assert command.main([*named, "-tr", "nnUNetTrainer"]) == 2
    assert "must name a trainer with gates, and nnUNetTrainer trains a PlainConvUNet" in capsys.readouterr().err
    assert command.main(["warm-start", str(checkpoint), "-o", str(checkpoint), "--overwrite"]) == 2
    assert "is the checkpoint itself" in capsys.readouterr().err
    assert not output.exists()
