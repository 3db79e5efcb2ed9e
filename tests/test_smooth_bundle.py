"""SMOOTH.json in a bundle: predict, the container and inspect give what smooth apply gives."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch
from hand_built import plans, write_image, write_model
from nnunetv2.postprocessing.remove_connected_components import (
    apply_postprocessing,
    remove_all_but_largest_component_from_segmentation,
)
from workspace import Workspace

from nnunet_prosma import command
from nnunet_prosma.bundle.manifest import read_manifest
from nnunet_prosma.container import inference
from nnunet_prosma.errors import InputError
from nnunet_prosma.smooth.dynamics import Prior
from nnunet_prosma.smooth.settings import Evidence, HeldOut, Smoothing, write_smoothing

pytestmark = pytest.mark.filterwarnings("ignore:The given NumPy array is not writable:UserWarning")
DATASET, SIZE, SPACING = "Dataset009_Toy", (11, 20, 17), (0.7, 1.1, 2.3)
REGIONS = {"background": 0, "whole": [1, 2], "core": [2]}
TRAINERS = ("nnUNetTrainerProSMA", "nnUNetTrainerProSMA_residual")


def model(folder, regions=False, trainer=TRAINERS[0]):
    """Random weights, of which half is foreground, in crumbs."""
    made = write_model(folder / "results", plans(3, [8, 8, 8], norm=True), trainer=trainer, by_hand=False, folds=2)
    if regions:
        dataset = json.loads((made / "dataset.json").read_text()) | {"labels": REGIONS, "regions_class_order": [1, 2]}
        (made / "dataset.json").write_text(json.dumps(dataset))
    return made


def settings(path, regions=False, lam=0.4, **changes):
    """One class is left alone where labels are regions."""
    names = {"(1, 2)": "whole", "(2,)": "core"} if regions else {"1": "bright"}
    *others, last = names
    priors = {**dict.fromkeys(others, Prior()), last: Prior(lam, 1.3)}
    evidence = Evidence(20, ["0", "1"], [HeldOut("smoothed", 0.8, 0.81, (0.001, 0.02), 0.01)], ["ill"])
    known = {"dataset": DATASET, "model": f"{TRAINERS[0]}__nnUNetPlans__3d_fullres", **changes}
    write_smoothing(path, Smoothing(names, priors, 0.9, 7, evidence, **known))
    return path


def images(folder, cases=2):
    for number in range(cases):
        noise = np.random.default_rng(number).standard_normal(SIZE).astype(np.float32)
        write_image(folder / "images" / f"case{number}_0000.nii.gz", noise, spacing=SPACING)
    return folder / "images"


def run(*arguments, status=0):
    assert command.main([str(a) for a in arguments]) == status


def read(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["labels", "regions", "two models"])
def test_predict_gives_bit_by_bit_what_smooth_apply_gives_after_nnunets_own_prediction(tmp_path, kind):
    regions = kind == "regions"
    models = [model(tmp_path, regions, trainer) for trainer in TRAINERS[: 1 + (kind == "two models")]]
    shown, workspace = images(tmp_path), Workspace(tmp_path)
    smooth = settings(tmp_path / "SMOOTH.json", regions)
    folders, commands = [], []
    for trainer in TRAINERS[: len(models)]:
        folders.append(tmp_path / f"predicted_{trainer}")
        named = ["-d", "9", "-c", "3d_fullres", "-tr", trainer, "-f", "0", "1", "-i", shown, "-o", folders[-1]]
        options = ["-device", "cpu", "-npp", "0", "-nps", "0", "--save_probabilities"]
        commands.append(["nnUNetv2_predict", *named, *options])
    found, named = folders[0], []
    if len(models) > 1:
        found, named = tmp_path / "averaged", ["-plans_json", models[0] / "plans.json"]
        commands.append(["nnUNetv2_ensemble", "-i", *folders, "-o", found, "--save_npz", "-np", "1"])
    workspace.run_all(*commands)
    run("smooth", "apply", smooth, "-i", found, "-o", tmp_path / "smoothed", *named)
    run("bundle", "-m", *models, "-f", "0", "1", "--smooth", smooth, "-o", tmp_path / "bundle")
    run("predict", tmp_path / "bundle", "-i", shown, "-o", tmp_path / "ours", "-device", "cpu", "--quiet")
    for name in ("case0.nii.gz", "case1.nii.gz"):
        before, ours = read(found / name), tmp_path / "ours" / name
        assert ours.read_bytes() == (tmp_path / "smoothed" / name).read_bytes()
        assert 0 < (read(ours) != before).mean() < 0.9  # it did something, and not everything


def bundled(folder, *options, regions=False, **asked):
    made, smooth = model(folder, regions), settings(folder / "SMOOTH.json", regions, **asked)
    if asked:  # little foreground, in several components
        checkpoint = torch.load(made / "fold_0" / "checkpoint_final.pth", weights_only=True)
        checkpoint["network_weights"]["decoder.seg_layers.0.bias"][1] -= 1
        torch.save(checkpoint, made / "fold_0" / "checkpoint_final.pth")
    run("bundle", "-m", made, "-f", "0", "--smooth", smooth, *options, "-o", folder / "bundle")
    return folder / "bundle"


def predicted(bundle, shown, output):
    run("predict", bundle, "-i", shown, "-o", output, "-device", "cpu", "--quiet")
    return read(output / "case0.nii.gz")


def test_smoothing_comes_before_postprocessing(tmp_path):
    shown, plain = images(tmp_path, 1), bundled(tmp_path, lam=0.05)
    function, arguments = remove_all_but_largest_component_from_segmentation, {"labels_or_regions": [1]}
    steps = tmp_path / "postprocessing.pkl"
    steps.write_bytes(pickle.dumps(([function], [arguments])))
    made = next((tmp_path / "results" / DATASET).iterdir())
    named = ["--smooth", tmp_path / "SMOOTH.json", "-pp_pkl_file", steps]
    run("bundle", "-m", made, "-f", "0", *named, "-o", tmp_path / "both")
    smoothed, both = (predicted(b, shown, tmp_path / f"of_{b.name}") for b in (plain, tmp_path / "both"))
    np.testing.assert_array_equal(both, apply_postprocessing(smoothed, [function], [arguments]))
    assert (both != smoothed).any()


def test_the_container_smooths_as_predict_does(tmp_path, capsys):
    shown, bundle = images(tmp_path, 1), bundled(tmp_path)
    expected = predicted(bundle, shown, tmp_path / "predicted")
    (tmp_path / "input" / "images" / "ct").mkdir(parents=True)
    (shown / "case0_0000.nii.gz").rename(tmp_path / "input" / "images" / "ct" / "x.nii.gz")
    choice = {"folds": None, "mirroring": True, "step_size": 0.5, "on_device": True}
    said = {
        "inputs": [{"path": "images/ct", "channels": [0]}],
        "output": {"path": "images/seg", "ending": ".nii.gz"},
        "memory_gb": 16,
        "choice": choice,
    }
    (tmp_path / "container.json").write_text(json.dumps(said))
    places = {"settings": "container.json", "input": "input", "output": "output", "model": "none", "bundle": "bundle"}
    (tmp_path / "output").mkdir()
    arguments = [text for key, place in places.items() for text in (f"--{key}", str(tmp_path / place))]
    assert inference.main(arguments) == 0
    assert "smoothing: as SMOOTH.json of the bundle says" in capsys.readouterr().out
    np.testing.assert_array_equal(read(tmp_path / "output" / "images" / "seg" / "output.nii.gz"), expected)


def test_settings_that_ask_for_nothing_leave_every_voxel_as_it_is(tmp_path):
    shown, made = images(tmp_path, 1), model(tmp_path)
    idle = settings(tmp_path / "idle.json", lam=0.0)
    run("bundle", "-m", made, "-f", "0", "-o", tmp_path / "plain")
    run("bundle", "-m", made, "-f", "0", "--smooth", idle, "-o", tmp_path / "idle")
    ours, plain = (predicted(tmp_path / b, shown, tmp_path / f"of_{b}") for b in ("idle", "plain"))
    np.testing.assert_array_equal(ours, plain)
    assert "asks for nothing" in (tmp_path / "idle" / "MODEL_CARD.md").read_text()


def test_the_manifest_and_the_model_card_tell_of_it_and_a_changed_file_is_named(tmp_path):
    bundle = bundled(tmp_path)
    manifest = read_manifest(bundle)
    assert (manifest["format"], manifest["smoothing"]) == (2, "SMOOTH.json")
    assert manifest["files"]["SMOOTH.json"]["bytes"] == (tmp_path / "SMOOTH.json").stat().st_size
    card = (bundle / "MODEL_CARD.md").read_text()
    assert "before postprocessing:\n  - bright: lam 0.4, sigma 1.3 mm, volume free, eps 0.9" in card
    assert "held-out folds, 20 cases, smoothed: Dice +0.0100 (+0.0010 to +0.0200)" in card
    assert "fitted without what could not be read (1): ill" in card
    assert "not fitted on what is bundled" not in card
    text = (bundle / "SMOOTH.json").read_text()
    (bundle / "SMOOTH.json").write_text(text.replace("0.4", "0.5"))
    with pytest.raises(InputError, match=r"SMOOTH.json was changed"):
        read_manifest(bundle)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": "Dataset001_Other"}, "the smoothing was fitted on Dataset001_Other"),
        ({"regions": True}, "the smoothing was fitted for"),
    ],
)
def test_settings_of_other_data_are_refused_before_anything_is_written(tmp_path, changes, message, capsys):
    made, smooth = model(tmp_path), settings(tmp_path / "SMOOTH.json", **changes)
    run("bundle", "-m", made, "-f", "0", "--smooth", smooth, "-o", tmp_path / "bundle", status=2)
    assert message in capsys.readouterr().err
    assert not (tmp_path / "bundle").exists()
    run("inspect", "-m", made, "-f", "0", "-i", images(tmp_path, 1), "-o", tmp_path / "out", "--smooth", smooth,
        "-device", "cpu", status=2)  # fmt: skip
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("regions", [False, True])
def test_inspect_shows_what_smoothing_changed_and_counts_it(tmp_path, regions):
    shown, bundle = images(tmp_path, 1), bundled(tmp_path, regions=regions)
    expected = predicted(bundle, shown, tmp_path / "predicted")
    made, out = next((tmp_path / "results" / DATASET).iterdir()), tmp_path / "out"
    named = ["-m", made, "-f", "0", "-i", shown, "-o", out, "--smooth", tmp_path / "SMOOTH.json"]
    run("inspect", *named, "-device", "cpu", "--disable_progress_bar")
    before, after = (read(out / place / "case0.nii.gz") for place in ("segmentations", "smoothed"))
    np.testing.assert_array_equal(after, expected)
    changed = int((before != after).sum())
    assert changed > 0
    entry = json.loads((out / "gates.json").read_text())["smoothed"]["case0"]
    assert (entry["changed"], entry["voxels"]) == (changed, before.size)
    first = next(iter(entry["sizes"].values()))
    assert first == [int((before > 0).sum()), int((after > 0).sum())]
    assert f"Smoothing changes {changed:,} of {before.size:,} voxels" in (out / "index.html").read_text()
    assert Path(out / "figures" / "case0_smoothed.png").stat().st_size > 5000
