"""What a bundle says of its models' Dice, and predict of a place that it cannot write to."""

import json
import shutil

import numpy as np
import pytest
from compare_workspace import train_again
from hand_built import plans, write_image, write_model

from nnunet_prosma import command
from nnunet_prosma.bundle.predictor import BundlePredictor
from nnunet_prosma.host.marks import mark_validated


@pytest.fixture
def model(tmp_path):
    """Two folds with final and best checkpoint, and nnU-Net's validation of one case each, without our mark."""
    folder = write_model(tmp_path / "results", plans(3, [8, 8, 8], norm=True), by_hand=False, folds=2)
    for number, fold in enumerate(sorted(folder.glob("fold_*"))):
        shutil.copyfile(fold / "checkpoint_final.pth", fold / "checkpoint_best.pth")
        (fold / "validation").mkdir()
        counts = {"TP": 8 - number, "FP": 0, "FN": 2 * number, "TN": 9, "n_pred": 8 - number, "n_ref": 8 + number}
        files = dict.fromkeys(("reference_file", "prediction_file"), f"case_{number}.nii.gz")
        metrics = {"1": {"Dice": (1.0, 0.875)[number], "IoU": 0.5, **counts}}
        (fold / "validation" / "summary.json").write_text(
            json.dumps({"metric_per_case": [{**files, "metrics": metrics}]})
        )
    return folder


def bundled(model, output, name="checkpoint_final.pth"):
    """The model card, and the cross-validation's Dice in the manifest."""
    assert command.main(["bundle", "-m", str(model), "-f", "0", "1", "-chk", name, "-o", str(output)]) == 0
    manifest = json.loads((output / "manifest.json").read_text())
    return (output / "MODEL_CARD.md").read_text(), manifest["models"][0]["crossvalidation_dice"]


def test_a_dice_is_told_of_the_checkpoint_that_was_validated_and_of_no_other(model, tmp_path):
    card, dice = bundled(model, tmp_path / "final")
    assert "- Checkpoint of each fold: checkpoint_final.pth\n" in card
    assert "| bright | 0.9375 | 2 | 0 |" in card  # without a mark: nnU-Net's default
    assert dice == 0.9375

    gap = "**GAP, fill in:** checkpoint_best.pth is bundled, and the validation of fold 0 is of checkpoint_final.pth"
    card, dice = bundled(model, tmp_path / "best", "checkpoint_best.pth")
    assert gap in card
    assert "0.9375" not in card
    assert dice is None

    mark_validated(model / "fold_0", "checkpoint_best.pth")
    card, dice = bundled(model, tmp_path / "half", "checkpoint_best.pth")
    assert gap.replace("fold 0", "fold 1") in card
    mark_validated(model / "fold_1", "checkpoint_best.pth")
    card, dice = bundled(model, tmp_path / "both", "checkpoint_best.pth")
    assert "- Checkpoint of each fold: checkpoint_best.pth\n" in card
    assert dice == 0.9375
    assert bundled(model, tmp_path / "other")[1] is None

    train_again(model / "fold_1")
    card, dice = bundled(model, tmp_path / "again", "checkpoint_best.pth")
    assert "**GAP, fill in:** fold 1 was trained again after the validation that lies there" in card
    assert dice is None


@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable:UserWarning")
def test_what_cannot_be_written_is_not_segmented(model, tmp_path, monkeypatch, capsys):
    write_image(tmp_path / "images" / "a_0000.nii.gz", np.zeros((9, 9, 9), np.float32))
    bundled(model, tmp_path / "bundle")
    (tmp_path / "file").touch()
    monkeypatch.setattr(BundlePredictor, "segment", lambda *given: pytest.fail("it was segmented"))
    words = ["predict", str(tmp_path / "bundle"), "-i", str(tmp_path / "images"), "-device", "cpu"]
    assert command.main([*words, "-o", str(tmp_path / "file" / "out")]) == 2
    assert "a is left out: " in (said := capsys.readouterr().err)
    assert "cannot be written" in said
