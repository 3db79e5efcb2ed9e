"""What version 0.1.0 trained, planned and bundled (fixtures_v0_1.py) goes on to load, predict and train.

docs/compatibility.md promises it.
"""

import json
import shutil

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch
from datasets import write_dataset
from fixtures_v0_1 import DATASET, FIXTURES, MODELS, OF_ANOTHER_PROCESSOR, folder_of, image
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

from nnunet_prosma import command
from nnunet_prosma.watch.record import read

TRAINING = FIXTURES / "training" / "nnUNetTrainerProSMAShort__tinyPlans__3d_fullres"
EPOCHS = 25
every_model = pytest.mark.parametrize("model", MODELS, ids=lambda m: f"{m[0]}-{m[1]}-{m[3]}d")


def logits_of(network, dimensions):
    with torch.no_grad():
        return network.eval()(torch.from_numpy(image(dimensions))).numpy()


@every_model
def test_nnunets_predictor_loads_each_model_and_its_logits_are_those_of_then(model):
    trainer, name, _, dimensions, _ = model
    folder = FIXTURES / "models" / folder_of(trainer, name, dimensions)
    predictor = nnUNetPredictor(device=torch.device("cpu"))
    predictor.initialize_from_trained_model_folder(str(folder), (0,), "checkpoint_final.pth")
    expected = np.load(folder / "logits.npz")["logits"]
    np.testing.assert_allclose(logits_of(predictor.network, dimensions), expected, **OF_ANOTHER_PROCESSOR)


@pytest.mark.parametrize("model", [m for m in MODELS if m[0] == "nnUNetTrainer"], ids=lambda m: m[1])
def test_the_network_that_plans_of_then_name_is_built_from_them_alone(model):
    """As nnU-Net's planners, trainers and predictors build it."""
    trainer, name, _, dimensions, _ = model
    folder = FIXTURES / "models" / folder_of(trainer, name, dimensions)
    (configuration,) = json.loads((folder / "plans.json").read_text())["configurations"].values()
    architecture = configuration["architecture"]
    kwargs, imports = architecture["arch_kwargs"], architecture["_kw_requires_import"]
    network = get_network_from_plans(
        architecture["network_class_name"], kwargs, imports, 1, 3, allow_init=True, deep_supervision=False
    )
    weights = torch.load(folder / "fold_0" / "checkpoint_final.pth", weights_only=False)["network_weights"]
    network.load_state_dict({key: value for key, value in weights.items() if key in network.state_dict()})
    expected = np.load(folder / "logits.npz")["logits"]
    np.testing.assert_allclose(logits_of(network, dimensions), expected, **OF_ANOTHER_PROCESSOR)


def test_the_record_of_then_is_read():
    record = read(TRAINING / "fold_0" / "gates.csv")
    assert [row.epoch for row in record.of(0)] == list(range(EPOCHS))
    assert all(0 < row.values["psi_mean"] < 1 for row in record.rows)


@pytest.mark.slow
def test_the_bundle_of_then_predicts_what_it_predicted(tmp_path):
    out = tmp_path / "out"
    (tmp_path / "in").mkdir()
    shutil.copy(FIXTURES / "images" / "case_009_0000.nii.gz", tmp_path / "in")
    options = ["-i", str(tmp_path / "in"), "-o", str(out), "-device", "cpu"]
    assert command.main(["predict", str(FIXTURES / "bundle"), *options]) == 0
    ours, theirs = (
        sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
        for path in (out / "case_009.nii.gz", FIXTURES / "images" / "predicted_009.nii.gz")
    )
    assert np.array_equal(ours, theirs)
    assert len(np.unique(theirs)) > 1


@pytest.mark.slow
def test_a_training_of_then_is_resumed(workspace):
    """Its epochs stay as they were, and the next one goes on from its weights."""
    write_dataset(workspace.raw, DATASET, cases=10)
    workspace.plan(9, "-c", "3d_fullres")
    plans = json.loads((TRAINING / "plans.json").read_text())
    (workspace.preprocessed / DATASET / "tinyPlans.json").write_text(json.dumps(plans))
    folder = workspace.results / DATASET / TRAINING.name
    shutil.copytree(TRAINING, folder)
    workspace.train(
        9, "3d_fullres", 0, "nnUNetTrainerProSMAShort", "-p", "tinyPlans", "--c", SHORT_TRAINER_EPOCHS=str(EPOCHS + 1)
    )
    before, after = (
        torch.load(path / "fold_0" / "checkpoint_final.pth", weights_only=False)["logging"]["train_losses"]
        for path in (TRAINING, folder)
    )
    assert len(after) == EPOCHS + 1
    assert after[:EPOCHS] == before
    assert after[EPOCHS] < (before[0] + before[-1]) / 2
    assert [row.epoch for row in read(folder / "fold_0" / "gates.csv").of(0)] == list(range(EPOCHS + 1))
