"""What inspect cannot use is a sentence and status 2; a damaged image costs its own case alone."""

import json
import os
import re
import shutil
import sys

import numpy as np
import pytest
import torch
from hand_built import half_bright, plans, write_image, write_model
from inspected import cascade, inspect, read, table

from nnunet_prosma import command

pytestmark = pytest.mark.filterwarnings("ignore:The given NumPy array is not writable:UserWarning")


def vanilla(model):
    checkpoint = torch.load(model / "fold_0" / "checkpoint_final.pth", weights_only=False)
    checkpoint["trainer_name"] = "nnUNetTrainer"
    weights = checkpoint["network_weights"]
    checkpoint["network_weights"] = {key: value for key, value in weights.items() if ".gates." not in key}
    torch.save(checkpoint, model / "fold_0" / "checkpoint_final.pth")


MISTAKES = {
    "no gates": (lambda m, i: vanilla(m), [], r"has no gates to look into: its trainer nnUNetTrainer built a PlainC"),
    "no fold": (lambda m, i: None, ["-f", "3"], r"no checkpoint_final.pth of fold 3; there is one of fold 0: choose"),
    "no checkpoint": (lambda m, i: None, ["-chk", "x.pth"], r"no x.pth of fold 0; train it, or choose with -chk"),
    "no model": (lambda m, i: (m / "plans.json").unlink(), [], r"holds no plans.json: it must be a model's folder"),
    "damaged": (
        lambda m, i: (m / "fold_0" / "checkpoint_final.pth").write_bytes(b"x"),
        [],
        r"checkpoint_final.pth cannot be read as a checkpoint: it is cut off or damaged",
    ),
    "empty folder": (
        lambda m, i: (i / "case_0000.nii.gz").unlink(),
        [],
        r"holds no image: their names must be CASE_0000.nii.gz",
    ),
    "no truth": (lambda m, i: None, ["-gt", "/"], r"the true segmentation of case is missing: /case.nii.gz is not th"),
    "no cascade": (lambda m, i: None, ["-prev_stage_predictions", "/"], r"-prev_stage_predictions is for the second"),
    "two channels": (
        lambda m, i: write_image(i / "case_0001.nii.gz", np.ones((8, 8, 16), np.float32)),
        [],
        r"case has 2 channels, but the model was trained on 1 \(MR0\): one file each",
    ),
    "damaged image": (
        lambda m, i: (i / "case_0000.nii.gz").write_bytes(b"x"),
        [],
        r"case_0000.nii.gz .*damaged",
    ),
    "step": (lambda m, i: None, ["-step_size", "0"], r"-step_size must be above 0 and at most 1, got 0"),
    "fold x": (lambda m, i: None, ["-f", "x"], r"-f takes numbers of folds, or all, got 'x'"),
    "both": (lambda m, i: None, ["-d", "9"], r"name the model either by -d and -c .* or by its folder with -m"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence_and_status_2(tmp_path, capsys, mistake):
    damage, options, message = MISTAKES[mistake]
    model = write_model(tmp_path / "results", plans(3, [8, 8, 16]))
    write_image(tmp_path / "images" / "case_0000.nii.gz", half_bright((8, 8, 16)))
    damage(model, tmp_path / "images")
    inspect(model, tmp_path / "images", tmp_path / "out", *options, status=2)
    assert_said(capsys, message)
    assert not (tmp_path / "out" / "index.html").exists()


def assert_said(capsys, message):
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("nnunet-prosma inspect: ")]
    assert re.search(message, "\n".join(said)), said


def test_damaged_images_are_named_and_the_others_are_shown(tmp_path, capsys):
    model = write_model(tmp_path / "results", plans(3, [8, 8, 16]))
    images, whole = tmp_path / "images", half_bright((8, 8, 16))
    for name in ("a", "cut", "z"):
        write_image(images / f"{name}_0000.nii.gz", whole)
    cut, holed = images / "cut_0000.nii.gz", whole.copy()
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    holed[1, 2, 3] = np.nan
    write_image(images / "holed_0000.nii.gz", holed)
    (images / "lost_0000.nii.gz").symlink_to(tmp_path / "nowhere.nii.gz")
    write_image(images / "second_0001.nii.gz", whole)
    for name in ("a", "cut", "holed", "lost", "other", "second", "truth", "z"):
        write_image(tmp_path / "labels" / f"{name}.nii.gz", (whole > 0).astype(np.uint8))
    for name in ("truth", "other"):
        shutil.copy(images / "a_0000.nii.gz", images / f"{name}_0000.nii.gz")
    write_image(tmp_path / "labels" / "other.nii.gz", (whole > 0).astype(np.uint8), spacing=(3, 3, 3))
    truth = tmp_path / "labels" / "truth.nii.gz"
    truth.write_bytes(truth.read_bytes()[:-20])
    inspect(model, images, tmp_path / "out", "--disable_tta", "-gt", tmp_path / "labels", status=2)
    said = capsys.readouterr().err
    for name, says in {
        "cut": r".*cut_0000\.nii\.gz cannot be read",
        "holed": r".*holed_0000\.nii\.gz holds values that are no numbers",
        "lost": r".*lost_0000\.nii\.gz is no file, or a link that leads nowhere",
        "other": r".*other_0000\.nii\.gz is not the image of .*other\.nii\.gz: it has a spacing",
        "second": r".*second_0000\.nii\.gz is missing",
        "truth": r".*labels/truth\.nii\.gz cannot be read",
    }.items():
        assert re.search(rf"^nnunet-prosma inspect: {name} is left out: {says}", said, re.MULTILINE), said
    assert said.endswith(" 6 of 8 cases could not be inspected: cut, holed, lost, other, second, truth\n")
    assert "Traceback" not in said
    assert [row["case"] for row in table(tmp_path / "out")] == ["a", "z"]
    assert sorted(path.name for path in (tmp_path / "out" / "segmentations").glob("*.nii.gz")) == [
        "a.nii.gz",
        "z.nii.gz",
    ]
    for name in ("a", "z"):
        assert np.array_equal(read(tmp_path / "out" / "segmentations" / f"{name}.nii.gz"), whole > 0)


def test_a_truth_of_nothing_but_the_ignore_label_costs_its_own_case_alone(tmp_path, capsys):
    model = write_model(tmp_path / "results", plans(3, [8, 8, 16]))
    dataset = json.loads((model / "dataset.json").read_text())
    dataset["labels"]["ignore"] = 2
    (model / "dataset.json").write_text(json.dumps(dataset))
    for name, ignored in (("a", 1), ("b", 8)):
        write_image(tmp_path / "images" / f"{name}_0000.nii.gz", half_bright((8, 8, 16)))
        truth = (half_bright((8, 8, 16)) > 0).astype(np.uint8)
        truth[:ignored] = 2
        write_image(tmp_path / "labels" / f"{name}.nii.gz", truth)
    inspect(model, tmp_path / "images", tmp_path / "out", "-gt", tmp_path / "labels", status=2)
    assert_said(capsys, r"b is left out: .*b\.nii\.gz holds nothing but the ignore label")
    assert [row["case"] for row in table(tmp_path / "out")] == ["a"]


@pytest.mark.skipif(sys.platform != "linux", reason="only there a name may hold any bytes")
def test_a_name_that_is_no_utf_8_is_refused_before_anything_is_computed(tmp_path, capsys):
    model = write_model(tmp_path / "results", plans(3, [8, 8, 16]))
    write_image(tmp_path / "images" / "a_0000.nii.gz", half_bright((8, 8, 16)))
    os.rename(tmp_path / "images" / "a_0000.nii.gz", os.fsencode(tmp_path / "images") + b"/b\xe9_0000.nii.gz")
    inspect(model, tmp_path / "images", tmp_path / "out", status=2)
    assert_said(capsys, r"holds 'b\\udce9', a name that is no UTF-8")


def test_a_folder_that_cannot_be_written_is_said(tmp_path, capsys):
    model = write_model(tmp_path / "results", plans(3, [8, 8, 16]))
    write_image(tmp_path / "images" / "case_0000.nii.gz", half_bright((8, 8, 16)))
    (tmp_path / "file").write_text("")
    inspect(model, tmp_path / "images", tmp_path / "file", status=2)
    assert_said(capsys, "file is a file: -o must name a folder")
    inspect(model, tmp_path / "images", tmp_path / "file" / "out", status=2)
    assert_said(capsys, "file/out cannot be written")


def test_a_truth_of_another_size_is_told(tmp_path, capsys):
    model = write_model(tmp_path / "results", plans(3, [8, 8, 16]))
    write_image(tmp_path / "images" / "case_0000.nii.gz", half_bright((8, 8, 16)))
    write_image(tmp_path / "labels" / "case.nii.gz", np.ones((8, 8, 15), np.uint8))
    inspect(model, tmp_path / "images", tmp_path / "out", "-gt", tmp_path / "labels", status=2)
    assert_said(capsys, r"not the image of .*case.nii.gz: it has 8 x 8 x 16 voxels, its ground truth 8 x 8 x 15")


def test_a_cascade_wants_the_predictions_of_the_stage_before(tmp_path, capsys):
    model, _ = cascade(tmp_path, np.random.default_rng(0))
    inspect(model, tmp_path / "images", tmp_path / "out", status=2)
    assert_said(capsys, "give the predictions of 3d_lowres for these images with -prev_stage_predictions")


def test_a_data_set_that_nnunet_does_not_know_is_told(tmp_path, capsys, monkeypatch):
    named = ["inspect", "-d", "77", "-c", "2d", "-i", str(tmp_path), "-o", str(tmp_path / "out")]
    monkeypatch.delenv("nnUNet_results", raising=False)
    assert command.main(named) == 2
    assert_said(capsys, "nnUNet_results is not set: set it as for nnU-Net, or name the folder of the trained model")
    monkeypatch.setenv("nnUNet_results", str(tmp_path))
    assert command.main(named) == 2
    assert_said(capsys, "nnU-Net knows no data set 77: ")
