"""From one short training to a warm start, a bundle and a container, through the real commands."""

import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import tifffile
import torch
from datasets import write_dataset
from nnunetv2.ensembling.ensemble import merge_files
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.postprocessing.remove_connected_components import remove_all_but_largest_component_from_segmentation
from workspace import EXTENSION, Workspace, losses, planning, run_as_newcomer, training

from nnunet_prosma import command
from nnunet_prosma.bundle.manifest import read_manifest
from nnunet_prosma.container.inference import main
from nnunet_prosma.host.checkpoints import read_checkpoint

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
    workspace.run_all(planning(11, "-c", "2d"), training(11, "2d", 0, VANILLA))
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
    assert (
        "must name a trainer that gates nnU-Net's network, and nnUNetTrainer trains a PlainConvUNet"
        in capsys.readouterr().err
    )
    assert command.main(["warm-start", str(checkpoint), "-o", str(checkpoint), "--overwrite"]) == 2
    assert "is the checkpoint itself" in capsys.readouterr().err
    assert not output.exists()


@pytest.fixture(scope="module")
def bundle(trained) -> Path:
    """The gated model, with the postprocessing that find_best_configuration would have left for its fold."""
    postprocessing = trained.path / "postprocessing.pkl"
    kept = [remove_all_but_largest_component_from_segmentation], [{"labels_or_regions": [1, 2]}]
    postprocessing.write_bytes(pickle.dumps(kept))
    output = trained.path / "BUNDLE"
    named = ("-d", 11, "-c", "2d", "-tr", GATED, "-f", 0, "-pp_pkl_file", postprocessing, "--licence", "CC0")
    trained.run("nnunet-prosma", "bundle", *named, "-o", output)
    return output


def test_a_bundle_predicts_what_nnunet_predicts_where_nobody_knows_of_the_training(trained, bundle):
    images = trained.raw / NAME / "imagesTs"
    theirs = trained.path / "theirs"
    named = ("-d", 11, "-c", "2d", "-tr", GATED, "-f", 0, "-device", "cpu", "-npp", 0, "-nps", 0)
    theirs.mkdir()
    trained.run("nnUNetv2_predict", *named, "-i", images, "-o", theirs)
    ours = trained.path / "ours"
    program = Path(sys.executable).with_name("nnunet-prosma")
    status, _, error = run_as_newcomer(program, "predict", bundle, "-i", images, "-o", ours, "-device", "cpu")
    assert status == 0, error
    assert sorted(path.name for path in ours.iterdir()) == ["case_003.nii.gz", "case_004.nii.gz"]
    for path in ours.iterdir():
        one, other = (sitk.ReadImage(str(folder / path.name)) for folder in (ours, theirs))
        processed = remove_all_but_largest_component_from_segmentation(sitk.GetArrayFromImage(other), [1, 2])
        np.testing.assert_array_equal(sitk.GetArrayFromImage(one), processed)
        assert (one.GetSpacing(), one.GetOrigin(), one.GetDirection()) == (
            other.GetSpacing(),
            other.GetOrigin(),
            other.GetDirection(),
        )


def test_a_bundle_is_plain_tensors_json_and_text(bundle):
    manifest = read_manifest(bundle)
    (checkpoint,) = bundle.glob("models/*/fold_0/checkpoint_final.pth")
    assert read_checkpoint(checkpoint).keys() == {
        "network_weights",
        "trainer_name",
        "init_args",
        "inference_allowed_mirroring_axes",
        "current_epoch",
    }
    assert {Path(name).suffix for name in manifest["files"]} == {".md", ".txt", ".json", ".pth", ".whl"}
    plans = json.loads((checkpoint.parents[1] / "plans.json").read_text())
    architecture = plans["configurations"]["2d"]["architecture"]
    assert architecture["network_class_name"] == "nnunet_prosma.architectures.gated_unet.ProSMAUNet"
    assert architecture["arch_kwargs"]["gate"]["dilations"] == [1, 2, 4]


def test_the_model_card_is_filled_from_files_and_marks_its_gaps(trained, bundle):
    card = (bundle / "MODEL_CARD.md").read_text()
    summary = json.loads((trained.fold(GATED, "2d") / "validation" / "summary.json").read_text())
    assert f"| ball | {summary['mean']['1']['Dice']:.4f} | 1 | 0 |" in card
    assert f"| mean over labels | {summary['foreground_mean']['Dice']:.4f} |" in card
    assert "- Channels: 0 T1, 1 FLAIR" in card
    assert "Licence of the weights: CC0" in card
    assert "**GAP, fill in:** where has it not been tried, where does it fail?" in card
    assert card.count("of z exactly zero, psi") == 2
    assert "no postprocessing was found" not in card


def test_what_cannot_be_bundled_is_said_before_anything_is_written(trained, monkeypatch, capsys):
    for variable, value in trained.environment().items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr("nnunetv2.paths.nnUNet_results", trained.results, raising=False)
    output = trained.path / "NEVER"
    folder = trained.fold(GATED, "2d").parent
    assert command.main(["bundle", "-m", str(folder), "-f", "0", "3", "-o", str(output)]) == 2
    assert "of fold 3; there is one of fold 0: choose with -f" in capsys.readouterr().err
    assert command.main(["bundle", "-m", str(folder), str(folder), "-f", "0", "-o", str(output)]) == 2
    assert "is named twice" in capsys.readouterr().err
    assert command.main(["bundle", "-m", str(folder), "-f", "0", "-o", str(trained.path)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert not output.exists()
    assert not list(trained.path.glob(".NEVER*"))


def test_an_ensemble_is_nnunets_average_of_probabilities(trained, tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_extTrainer", str(EXTENSION))
    files = sorted(str(path) for path in (trained.raw / NAME / "imagesTs").glob("case_003_*.nii.gz"))
    folders = [trained.fold(name, "2d").parent for name in (VANILLA, GATED)]
    named = ["-m", *map(str, folders), "-f", "0", "-o", str(tmp_path / "bundle")]
    assert command.main(["bundle", *named]) == 0
    out = ["-i", str(Path(files[0]).parent), "-o", str(tmp_path / "ours"), "-device", "cpu", "--disable_tta"]
    assert command.main(["predict", str(tmp_path / "bundle"), *out]) == 0
    probabilities = []
    for folder in sorted((tmp_path / "bundle" / "models").iterdir(), reverse=True):  # as nnU-Net itself loads a model
        predictor = nnUNetPredictor(device=torch.device("cpu"), use_mirroring=False)
        predictor.initialize_from_trained_model_folder(str(folder), (0,))
        target = tmp_path / folder.name
        predictor.predict_from_files_sequential([files], [str(target)], save_probabilities=True)
        probabilities.append(f"{target}.npz")
    writer = predictor.plans_manager.image_reader_writer_class()
    merge_files(probabilities, str(tmp_path / "merged"), ".nii.gz", writer, predictor.label_manager)
    ours, theirs = (
        sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / p))) for p in ("ours/case_003.nii.gz", "merged.nii.gz")
    )
    np.testing.assert_array_equal(ours, theirs)


@pytest.fixture(scope="module")
def submission(trained, bundle):
    """A container's folder, its sockets in the other order than the channels, for all to read, and case 3 for it."""
    root = Path(tempfile.mkdtemp(prefix="nnunet_prosma_submission_"))
    root.chmod(0o755)
    arguments = ["container", bundle, "--input", "images/flair-mri=FLAIR", "images/t1-mri=T1"]
    limits = ["--time-limit", 600, "--samples", trained.raw / NAME / "imagesTs", "-device", "cpu"]
    output = ["--output", "images/ball-segmentation", "--memory", 4, "-o", root / "folder"]
    trained.table = trained.run("nnunet-prosma", *arguments, *limits, *output)
    place_case(trained, root / "input", (("flair-mri", 1), ("t1-mri", 0)))
    (root / "output").mkdir(mode=0o777)
    (root / "output").chmod(0o777)
    yield root
    shutil.rmtree(root)


def place_case(trained, folder, sockets):
    """Case 3 as .mha, turned in space, which nnU-Net does not look at."""
    for socket, channel in sockets:
        (folder / "images" / socket).mkdir(parents=True)
        image = sitk.ReadImage(str(trained.raw / NAME / "imagesTs" / f"case_003_{channel:04}.nii.gz"))
        image.SetDirection((0.8, -0.6, 0.0, 0.36, 0.48, -0.8, 0.48, 0.64, 0.6))
        image.SetOrigin((-3.5, 100.0, 7.25))
        sitk.WriteImage(image, str(folder / "images" / socket / "5d0f.mha"), True)


def segment(root, folder_of_input, *prefix):
    """The entry script as the platform starts it: no variable of nnU-Net, no home, an empty folder for /tmp."""
    (root / "tmp").mkdir(exist_ok=True)
    (root / "tmp").chmod(0o777)
    known = {"PATH": os.environ["PATH"], "TMPDIR": str(root / "tmp"), "MPLCONFIGDIR": str(root / "tmp")}
    known |= {"NNUNET_PROSMA_APP": str(root / "folder"), "NNUNET_PROSMA_REGISTER": "0", "OMP_NUM_THREADS": "1"}
    folders = ["--input", folder_of_input, "--output", root / "output", "--model", root / "no-model"]
    return subprocess.run(
        [*prefix, sys.executable, root / "folder" / "inference.py", *folders],
        cwd="/",
        env=known,
        capture_output=True,
        text=True,
    )


CONTAINED = """
set -euo pipefail
base=$1 input=$2; shift 2
top=/$(cut -d/ -f2 <<< "$base")
if [ $(( 0$(stat -c %a "$top") & 1 )) = 0 ]; then  # Python lies in a home that others may not enter
    aside=$(dirname "$input")/python
    mkdir -p "$aside"
    mount --bind "$base" "$aside"
    mount -t tmpfs -o mode=755 tmpfs "$top"
    mkdir -p "$base"
    mount --bind "$aside" "$base"
fi
mount --bind "$input" "$input"
mount -o remount,bind,ro "$input"
exec setpriv --reuid=65534 --regid=65534 --clear-groups --no-new-privs prlimit --as=12000000000 "$@"
"""


def isolated(readonly):
    """A network namespace without network, an unprivileged user, a read-only mount of the input, 12 GB of addresses.

    Empty if this machine does not permit it.
    """
    prefix = ["unshare", "--net", "--mount", "bash", "-c", CONTAINED, "contained", sys.base_prefix, str(readonly)]
    try:
        allowed = subprocess.run([*prefix, sys.executable, "-c", ""], capture_output=True).returncode == 0
    except FileNotFoundError:
        allowed = False
    return prefix if allowed else []


def test_the_entry_script_runs_without_network_rights_or_variables(trained, bundle, submission, tmp_path):
    prefix = isolated(submission / "input")
    if not prefix:
        pytest.skip("this machine permits no namespaces (unshare): the entry script's isolation is NOT tested")
    done = segment(submission, submission / "input", *prefix)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    output = submission / "output" / "images" / "ball-segmentation" / "output.mha"
    written, reference = sitk.ReadImage(str(output)), sitk.ReadImage(str(submission / "input/images/t1-mri/5d0f.mha"))
    assert written.GetDirection() == reference.GetDirection()
    assert (written.GetSpacing(), written.GetOrigin()) == (reference.GetSpacing(), reference.GetOrigin())
    images = tmp_path / "images"  # the same voxels through predict, which is held against nnU-Net above
    images.mkdir()
    for channel in (0, 1):
        shutil.copy(trained.raw / NAME / "imagesTs" / f"case_003_{channel:04}.nii.gz", images)
    out = ["-i", str(images), "-o", str(tmp_path / "ours"), "-device", "cpu"]
    assert command.main(["predict", str(bundle), *out]) == 0
    expected = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "ours" / "case_003.nii.gz")))
    assert expected.any()
    np.testing.assert_array_equal(sitk.GetArrayFromImage(written), expected)
    assert [path.name for path in (submission / "output").rglob("*") if path.is_file()] == ["output.mha"]
    assert "label 1: " in done.stdout


def test_what_the_entry_script_cannot_use_ends_in_one_sentence_and_no_output(trained, submission, tmp_path, capsys):
    stderr = sys.stderr
    folder = submission / "folder"

    def failed(input_folder, bundle=folder / "bundle", settings=folder / "container.json"):
        named = ["--input", str(input_folder), "--output", str(tmp_path / "out"), "--model", str(tmp_path / "none")]
        try:
            assert main([*named, "--bundle", str(bundle), "--settings", str(settings)]) == 1
        finally:
            sys.stderr = stderr
        assert not (tmp_path / "out").exists()
        return capsys.readouterr().out.splitlines()[-1]

    place_case(trained, tmp_path / "wrong", (("flair-mri", 1), ("t1", 0)))
    assert failed(tmp_path / "wrong").startswith("FAILED: no input folder ")
    place_case(trained, tmp_path / "empty", (("flair-mri", 1), ("t1-mri", 0)))
    assert failed(tmp_path / "empty", bundle=tmp_path).startswith("FAILED: there is no model")
    damaged = shutil.copytree(folder / "bundle", tmp_path / "damaged")
    (weights,) = damaged.glob("models/*/fold_0/*.pth")
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    assert "checkpoint_final.pth was changed" in failed(tmp_path / "empty", bundle=damaged)
    small = json.loads((folder / "container.json").read_text()) | {"memory_gb": 1}
    (tmp_path / "small.json").write_text(json.dumps(small))
    assert "1.0 GB are there: give the job more memory" in failed(tmp_path / "empty", settings=tmp_path / "small.json")
    (tmp_path / "other.json").write_text("{}")
    assert failed(tmp_path / "empty", settings=tmp_path / "other.json") == "FAILED: unforeseen, KeyError: 'inputs'"
    (tmp_path / "empty" / "images" / "t1-mri" / "5d0f.mha").write_bytes(b"")
    assert failed(tmp_path / "empty").endswith("5d0f.mha is empty, 0 bytes: it was not copied whole")


def test_a_slice_as_tif_is_segmented_as_nnunet_segments_that_slice(trained, submission, tmp_path, capsys):
    planes = []
    for socket, channel in (("t1-mri", 0), ("flair-mri", 1)):
        volume = sitk.GetArrayFromImage(
            sitk.ReadImage(str(trained.raw / NAME / "imagesTs" / f"case_004_{channel:04}.nii.gz"))
        )
        planes.append(volume[4])
        (tmp_path / "input" / "images" / socket).mkdir(parents=True)
        tifffile.imwrite(tmp_path / "input" / "images" / socket / "a.tif", volume[4])
    folder = submission / "folder"
    settings = json.loads((folder / "container.json").read_text())
    settings["output"]["ending"] = ".tif"
    (tmp_path / "tif.json").write_text(json.dumps(settings))
    named = ["--input", str(tmp_path / "input"), "--output", str(tmp_path), "--model", str(folder / "bundle")]
    stderr = sys.stderr
    try:
        assert main([*named, "--settings", str(tmp_path / "tif.json")]) == 0, capsys.readouterr().out
    finally:
        sys.stderr = stderr
    ours = tifffile.imread(tmp_path / "images" / "ball-segmentation" / "output.tif")
    step, mirroring = settings["choice"]["step_size"], settings["choice"]["mirroring"]
    predictor = nnUNetPredictor(step, use_mirroring=mirroring, device=torch.device("cpu"), allow_tqdm=False)
    (model,) = (folder / "bundle" / "models").iterdir()
    predictor.initialize_from_trained_model_folder(str(model), (0,))
    theirs = predictor.predict_single_npy_array(np.stack(planes)[:, None], {"spacing": [999.0, 1.0, 1.0]})
    np.testing.assert_array_equal(ours, remove_all_but_largest_component_from_segmentation(theirs, [1, 2])[0])
    assert ours.any()


def test_the_choice_for_a_time_limit_is_printed_and_written(trained, submission, bundle, monkeypatch, capsys):
    choice = json.loads((submission / "folder" / "choice.json").read_text())
    assert (choice["folds"], choice["mirroring"], choice["step_size"]) == (["0"], True, 0.5)
    assert len(choice["options"]) == 6
    assert choice["dice"] == json.loads((bundle / "manifest.json").read_text())["models"][0]["crossvalidation_dice"]
    assert 30 < choice["seconds"] < 600
    assert trained.table.count("->") == 1
    output = trained.path / "too-short"
    named = [
        "container",
        str(bundle),
        "--input",
        "images/a=T1",
        "images/b=FLAIR",
        "--output",
        "images/c",
        "-o",
        str(output),
    ]
    assert command.main([*named, "--time-limit", "20", "-device", "cpu"]) == 2
    assert "no option fits --time-limit 20 s: the fastest, 1 fold without mirroring" in capsys.readouterr().err
    assert not output.exists()


def test_the_folder_is_ready_for_docker_build(submission):
    folder = submission / "folder"
    held = {path.name for path in folder.iterdir()}
    scripts = {"do_build.sh", "do_test_run.sh", "do_save.sh"}
    assert held == scripts | {
        *("Dockerfile", ".dockerignore", "README.md", "inference.py"),
        *("container.json", "choice.json", "bundle", "test", "requirements.txt", "wheels"),
    }
    assert all(os.access(folder / script, os.X_OK) for script in scripts)
    for path in folder.iterdir():
        assert path.is_dir() or not re.search("@[A-Z_]+@", path.read_text()), path
    assert "images/flair-mri/CASE.mha" in (folder / "do_test_run.sh").read_text()
    read_manifest(folder / "bundle")
