"""Five folds of two trainers, and what nnU-Net's commands make of them."""

import json
import zipfile

import pytest
from workspace import Workspace

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("five_folds")]
TRAINERS = ("nnUNetTrainerShort", "nnUNetTrainerProSMAShort")


def predict(workspace, trainer, out, *arguments):
    images = workspace.raw / "Dataset009_Toy" / "imagesTs"
    named = ("-d", 9, "-c", "3d_fullres", "-tr", trainer, "-device", "cpu", "-npp", 1, "-nps", 1)
    workspace.run("nnUNetv2_predict", *named, "-i", images, "-o", out, *arguments)
    return {path.name: path.read_bytes() for path in out.glob("*.nii.gz")}


def test_every_fold_is_validated_on_its_own_cases(five_folds):
    for trainer in TRAINERS:
        folds = [five_folds.fold(trainer, fold=fold) / "validation" for fold in range(5)]
        assert sorted(path.stem for fold in folds for path in fold.glob("*.npz")) == [f"case_{i:03}" for i in range(10)]


def test_the_best_configuration_is_found_over_both_trainers_and_their_ensemble(five_folds):
    found = ("-c", "3d_fullres", "-tr", *TRAINERS, "-np", 1)
    five_folds.run("nnUNetv2_find_best_configuration", 9, *found)
    information = json.loads((five_folds.results / "Dataset009_Toy" / "inference_information.json").read_text())
    assert {information["considered_models"][i]["trainer"] for i in range(2)} == set(TRAINERS)
    assert len(information["all_results"]) == 3


def test_predictions_of_both_trainers_are_ensembled(five_folds):
    outs = [five_folds.path / f"predicted_{trainer}" for trainer in TRAINERS]
    for trainer, out in zip(TRAINERS, outs, strict=True):
        assert len(predict(five_folds, trainer, out, "--save_probabilities", "-f", 0, 1)) == 2
    five_folds.run("nnUNetv2_ensemble", "-i", *outs, "-o", five_folds.path / "ensembled", "-np", 1)
    assert len(list((five_folds.path / "ensembled").glob("*.nii.gz"))) == 2


def test_a_model_exported_to_a_zip_predicts_the_same_elsewhere(five_folds, tmp_path):
    trainer = "nnUNetTrainerProSMAShort"
    here = predict(five_folds, trainer, tmp_path / "here")
    archive = tmp_path / "model.zip"
    five_folds.run("nnUNetv2_export_model_to_zip", "-d", 9, "-c", "3d_fullres", "-tr", trainer, "-o", archive)
    assert not [name for name in zipfile.ZipFile(archive).namelist() if name.endswith(".py")]

    elsewhere = Workspace(tmp_path / "elsewhere")
    elsewhere.run("nnUNetv2_install_pretrained_model_from_zip", archive)
    (elsewhere.raw / "Dataset009_Toy").symlink_to(five_folds.raw / "Dataset009_Toy")
    assert predict(elsewhere, trainer, tmp_path / "there") == here
