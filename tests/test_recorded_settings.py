"""A training tells its gates' settings, and whatever builds its network again goes by them."""

import json
import shutil

import numpy as np
import pytest
import torch
from fixtures_v0_1 import (
    FIXTURES,
    GATED,
    OF_ANOTHER_PROCESSOR,
    VANILLA,
    folder_of,
    image,
    make_model,
    make_plans,
)
from networks import build
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.paths import nnUNet_preprocessed

from nnunet_prosma import command, trainers
from nnunet_prosma.architectures import ProSMAUNet
from nnunet_prosma.architectures.carried_heads import carry_settings
from nnunet_prosma.trainers import nnUNetTrainerProSMA
from nnunet_prosma.trainers.mixin import RECORD

PLAIN = VANILLA + "PlainConvUNet"
TRAINED = [
    ("nnUNetTrainerProSMA", PLAIN, None, "normal"),
    ("nnUNetTrainerProSMA_residual", PLAIN, {"lam": 0.2}, "residual"),
    ("nnUNetTrainerProSMA_coarse2", VANILLA + "ResidualEncoderUNet", None, "coarse"),
    ("nnUNetTrainerProSMA_hardRemoval", GATED + "PUNet", None, "hard"),
    ("nnUNetTrainerPUNet_noGate", GATED + "PUNet", {"lam": 0.2}, "none"),
]
every_training = pytest.mark.parametrize("trained", TRAINED, ids=lambda t: t[3])


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    for variable in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(variable, str(tmp_path))
    assert nnUNet_preprocessed.is_set()
    return tmp_path


def make(scratch, trainer, network, gate):
    make_model(scratch / "made", scratch, trainer, "somePlans", network, 2, gate)
    return scratch / "made" / folder_of(trainer, "somePlans", 2)


def logits(folder):
    predictor = nnUNetPredictor(device=torch.device("cpu"))
    predictor.initialize_from_trained_model_folder(str(folder), (0,), "checkpoint_final.pth")
    with torch.no_grad():
        return predictor.network.eval()(torch.from_numpy(image(2))).numpy()


def checkpoint_of(folder):
    return torch.load(folder / "fold_0" / "checkpoint_final.pth", weights_only=False)


@every_training
def test_the_checkpoint_and_the_plans_beside_it_tell_the_settings(scratch, trained):
    trainer, network, gate, _ = trained
    folder = make(scratch, trainer, network, gate)
    expected = getattr(trainers, trainer).gates_to_train(
        make_plans("somePlans", network, 2, gate)["configurations"]["2d"]
    )
    checkpoint = checkpoint_of(folder)
    for plans in (json.loads((folder / "plans.json").read_text()), checkpoint["init_args"]["plans"]):
        assert plans["configurations"]["2d"][RECORD]["gate"] == expected.to_dict()
    assert checkpoint["network_weights"]._metadata["decoder"]["gate"] == expected.to_dict()


@every_training
def test_what_the_trainers_settings_are_later_changes_no_prediction(scratch, trained, monkeypatch):
    trainer, network, gate, _ = trained
    folder = make(scratch, trainer, network, gate)
    before = np.load(folder / "logits.npz")["logits"]
    conflicting = {"kind": "attention", "norm": "none"}, {"lamb": 0.1}  # with the plans' lam; and a slip
    for later in ({"kind": "prosma", "norm": "instance"}, *conflicting):
        monkeypatch.setattr(getattr(trainers, trainer), "gate_settings", later)
        np.testing.assert_array_equal(logits(folder), before)


@pytest.mark.parametrize("name", ["nnUNetTrainerProSMA", "nnUNetTrainerPUNet"])
def test_a_checkpoint_of_0_1_keeps_the_papers_settings_whatever_the_trainers_are_now(name, monkeypatch):
    folder = FIXTURES / "models" / folder_of(name, "punetPlans" if "PUNet" in name else "nnUNetPlans", 2)
    monkeypatch.setattr(getattr(trainers, name), "gate_settings", {"kind": "prosma", "norm": "instance"})
    expected = np.load(folder / "logits.npz")["logits"]
    np.testing.assert_allclose(logits(folder), expected, **OF_ANOTHER_PROCESSOR)


def test_folds_of_different_settings_in_one_folder_are_an_error(scratch, monkeypatch):
    """Of the second fold, trained later, are the plans; neither of a later nor of 0.1's fold is the network then."""
    folder = make(scratch, "nnUNetTrainerProSMA", PLAIN, None)
    monkeypatch.setattr(nnUNetTrainerProSMA, "gate_settings", {"kind": "prosma", "norm": "instance"})
    later = scratch / "later"
    later.mkdir()
    make_model(later, later, "nnUNetTrainerProSMA", "somePlans", PLAIN, 2, None)
    shutil.copy(later / folder.name / "plans.json", folder / "plans.json")
    with pytest.raises(
        RuntimeError, match=r"trained with other settings than this network has .norm 'none' instead of"
    ):
        logits(folder)
    of_then = FIXTURES / "models" / folder.name.replace("somePlans", "nnUNetPlans")
    shutil.copy(of_then / "fold_0" / "checkpoint_final.pth", folder / "fold_0" / "checkpoint_final.pth")
    with pytest.raises(
        RuntimeError, match=r"trained with other settings than this network has .norm 'none' instead of"
    ):
        logits(folder)


@pytest.mark.parametrize("rebuilt", [False, True], ids=["as saved", "rebuilt key by key, as nnU-Net's trainer does"])
def test_weights_that_tell_their_settings_load_into_no_other_network(tmp_path, rebuilt):
    torch.save(build(ProSMAUNet, 2).state_dict(), tmp_path / "weights.pth")
    trained = torch.load(tmp_path / "weights.pth", weights_only=True)
    trained = dict(trained.items()) if rebuilt else trained
    for settings, message in (
        ({"norm": "instance"}, "norm 'none' instead of 'instance'"),
        ({"removal": "hard"}, "removal 'soft' instead of 'hard'"),
        ({"dilations": [1, 2, 3]}, r"dilations \(1, 2, 4\) instead of \(1, 2, 3\)"),
    ):
        with pytest.raises(RuntimeError, match=f"trained with other settings than this network has .{message}"):
            build(ProSMAUNet, 2, gate=settings).load_state_dict(trained)
    build(ProSMAUNet, 2, gate={"lam": 0.1, "start": "open"}).load_state_dict(trained)  # of the start alone
    carry_settings(trained, {"colour": "blue"})
    with pytest.raises(RuntimeError, match="of another version of nnunet-prosma: unknown gate setting 'colour'"):
        build(ProSMAUNet, 2).load_state_dict(trained)


@pytest.mark.parametrize("of_0_1", [False, True], ids=["now", "of 0.1"])
def test_a_training_goes_on_with_the_settings_it_began_with(scratch, monkeypatch, of_0_1):
    folder = make(scratch, "nnUNetTrainerProSMA", PLAIN, None)
    if of_0_1:
        folder = FIXTURES / "models" / folder_of("nnUNetTrainerProSMA", "nnUNetPlans", 2)
    monkeypatch.setattr(nnUNetTrainerProSMA, "gate_settings", {"kind": "prosma", "norm": "instance"})
    planned = make_plans("somePlans", PLAIN, 2, None)
    dataset = json.loads((folder / "dataset.json").read_text())

    def trainer():
        plans = {**planned, "continue_training": True}
        return nnUNetTrainerProSMA(plans, "2d", 0, dataset, torch.device("cpu"))

    path = str(folder / "fold_0" / "checkpoint_final.pth")
    resumed = trainer()
    resumed.load_checkpoint(checkpoint=path)  # as later versions of nnU-Net call the parameter
    assert resumed.network.decoder.config.norm == "none"
    assert RECORD not in planned["configurations"]["2d"]
    resumed.save_checkpoint(str(scratch / "next.pth"))
    told = torch.load(scratch / "next.pth", weights_only=False)["init_args"]["plans"]["configurations"]["2d"][RECORD]
    assert told["gate"]["norm"] == "none"
    begun = trainer()
    begun.initialize()
    assert begun.network.decoder.config.norm == "instance"
    with pytest.raises(RuntimeError, match=r"its gates were trained with other settings .norm 'none' instead of"):
        begun.load_checkpoint(filename_or_checkpoint=path)


def test_inspect_and_bundle_refuse_a_fold_of_other_settings_in_a_sentence(scratch, tmp_path, monkeypatch, capsys):
    folder = make(scratch, "nnUNetTrainerProSMA", PLAIN, None)
    monkeypatch.setattr(nnUNetTrainerProSMA, "gate_settings", {"kind": "prosma", "norm": "instance"})
    later = scratch / "later"
    later.mkdir()
    make_model(later, later, "nnUNetTrainerProSMA", "somePlans", PLAIN, 2, None)
    shutil.copytree(later / folder.name / "fold_0", folder / "fold_1")
    (scratch / "images").mkdir()
    out = ["-o", str(tmp_path / "out")]
    for arguments in (["bundle", "-m", str(folder), "-f", "0", "1"], ["inspect", "-m", str(folder), "-f", "0", "1"]):
        images = ["-i", str(scratch / "images")] if arguments[0] == "inspect" else []
        assert command.main([*arguments, *images, *out]) == 2
        said = capsys.readouterr().err.strip().splitlines()[-1]
        assert "fold_1/checkpoint_final.pth does not fit the network of its trainer and plans" in said
        assert "norm 'instance' instead of 'none'" in said
        assert not (tmp_path / "out").exists()
