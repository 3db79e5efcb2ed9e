"""doctor FOLDER, on trained folders as nnU-Net leaves them."""

import json
import shutil

import pytest
import torch
from compare_workspace import train_again
from hand_built import plans, write_model

from nnunet_prosma.command import main

STATE = {"optimizer_state": {}, "current_epoch": 7, "logging": {}, "grad_scaler_state": None, "_best_ema": 0.5}


@pytest.fixture
def results(tmp_path):
    """A gated and an ungated training of two folds each, fold 1 not validated."""
    for trainer in ("nnUNetTrainerProSMA", "nnUNetTrainer"):
        write_model(tmp_path, plans(2, [16, 16]), trainer=trainer, folds=2, by_hand=trainer != "nnUNetTrainer")
    for folder in (tmp_path / "Dataset009_Toy").iterdir():
        measured = {"Dice": 1.0, "IoU": 1.0, "TP": 1, "FP": 0, "FN": 0, "TN": 0, "n_ref": 1, "n_pred": 1}
        case = {"metrics": {"1": measured}, "prediction_file": "a.png", "reference_file": "a.png"}
        (folder / "fold_0" / "validation").mkdir()
        summary = {"metric_per_case": [case], "mean": {"1": measured}, "foreground_mean": measured}
        (folder / "fold_0" / "validation" / "summary.json").write_text(json.dumps(summary))
    return tmp_path


def examined(folder, capsys, status):
    assert main(["doctor", str(folder), "--json"]) == status
    return {
        (training["folder"].rpartition("/")[2].partition("__")[0], training["fold"]): training
        for training in json.loads(capsys.readouterr().out)
    }


def test_each_training_below_a_folder_is_told_with_its_gates(results, capsys):
    found = examined(results, capsys, 1)
    told = {key: (training["state"], training["gates"]) for key, training in found.items()}
    assert told == {
        ("nnUNetTrainerProSMA", "0"): ("whole", 1),
        ("nnUNetTrainerProSMA", "1"): ("not validated", 1),
        ("nnUNetTrainer", "0"): ("whole", 0),
        ("nnUNetTrainer", "1"): ("not validated", 0),
    }
    assert examined(results / "Dataset009_Toy", capsys, 1) == found


def test_one_that_was_cut_off_can_go_on_if_its_checkpoint_has_what_nnunet_reads(results, capsys):
    fold = results / "Dataset009_Toy" / "nnUNetTrainerProSMA__nnUNetPlans__2d" / "fold_1"
    checkpoint = torch.load(fold / "checkpoint_final.pth")
    (fold / "checkpoint_final.pth").unlink()
    torch.save(checkpoint | STATE, fold / "checkpoint_latest.pth")
    training = examined(results, capsys, 1)["nnUNetTrainerProSMA", "1"]
    assert (training["state"], training["epochs"]) == ("resumable", 7)
    torch.save(checkpoint, fold / "checkpoint_latest.pth")
    training = examined(results, capsys, 1)["nnUNetTrainerProSMA", "1"]
    assert training["state"] == "damaged"
    assert "lacks optimizer_state, current_epoch, logging, so nnU-Net cannot go on" in training["problem"]


def test_a_checkpoint_that_is_cut_off_and_a_fold_without_one_are_told(results, capsys):
    folder = results / "Dataset009_Toy" / "nnUNetTrainerProSMA__nnUNetPlans__2d"
    whole = (folder / "fold_0" / "checkpoint_final.pth").read_bytes()
    (folder / "fold_0" / "checkpoint_final.pth").write_bytes(whole[: len(whole) // 2])
    (folder / "fold_1" / "checkpoint_final.pth").unlink()
    found = examined(folder, capsys, 1)
    assert found["nnUNetTrainerProSMA", "0"]["state"] == "damaged"
    assert "cut off or damaged" in found["nnUNetTrainerProSMA", "0"]["problem"]
    assert found["nnUNetTrainerProSMA", "1"]["state"] == "no checkpoint"


def test_one_that_was_trained_again_since_its_validation_is_not_whole(results, capsys):
    train_again(results / "Dataset009_Toy" / "nnUNetTrainer__nnUNetPlans__2d" / "fold_0")
    training = examined(results, capsys, 1)["nnUNetTrainer", "0"]
    assert training["state"] == "not validated"
    assert training["problem"] == "finished, and trained again since its validation: validate it with --val"


def test_a_collected_training_needs_no_checkpoint(results, capsys):
    folder = results / "Dataset009_Toy" / "nnUNetTrainerProSMA__nnUNetPlans__2d"
    shutil.rmtree(folder / "fold_1")
    (folder / "fold_0" / "checkpoint_final.pth").unlink()
    (folder / "fold_0" / "collected.json").write_text("{}")
    training = examined(folder, capsys, 0)["nnUNetTrainerProSMA", "0"]
    assert (training["state"], training["cases"], training["problem"]) == ("collected", 1, None)
    assert main(["doctor", str(folder)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        str(folder),
        "  fold 0   collected      validated on 1 case",
        "0 of 1 trainings are whole, 1 is collected without a checkpoint",
    ]
    summary = folder / "fold_0" / "validation" / "summary.json"
    summary.write_text(summary.read_text()[:30])
    assert examined(folder, capsys, 1)["nnUNetTrainerProSMA", "0"]["state"] == "damaged"


def test_all_whole_is_status_0_and_a_line_each(results, capsys):
    folder = results / "Dataset009_Toy" / "nnUNetTrainerProSMA__nnUNetPlans__2d"
    shutil.rmtree(folder / "fold_1")
    assert main(["doctor", str(folder)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        str(folder),
        "  fold 0   whole          1 gate; validated on 1 case",
        "1 of 1 trainings are whole",
    ]


def test_a_folder_without_trainings_is_one_sentence(tmp_path, capsys):
    assert main(["doctor", str(tmp_path)]) == 2
    assert f"{tmp_path} holds no training: it must be nnUNet_results" in capsys.readouterr().err
    assert main(["doctor", str(tmp_path / "no")]) == 2
    assert "is not a folder: name nnUNet_results" in capsys.readouterr().err
