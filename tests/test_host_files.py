"""Whatever nnU-Net takes of its own files passes the types in host/, and what is wrong is said with file and field."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.experiment_planning.experiment_planners.residual_unets.residual_encoder_unet_planners import (
    nnUNetPlannerResEncM,
)
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from test_plans import GEOMETRIES, make_plans
from workspace import Workspace, run_as_newcomer

from nnunet_prosma import command, doctor
from nnunet_prosma.errors import InputError
from nnunet_prosma.host import stand_ins
from nnunet_prosma.host.check import checked
from nnunet_prosma.host.dataset_json import Dataset
from nnunet_prosma.host.plans import Plans, Setup
from nnunet_prosma.host.schema import SummaryFile

DATASET = {"labels": {"background": 0, "a": 1}, "file_ending": ".nii.gz", "channel_names": {"0": "CT"}}
COMMAND = Path(sys.executable).with_name("nnunet-prosma")
OLD = {
    "data_identifier": "x",
    "preprocessor_name": "DefaultPreprocessor",
    "batch_size": 2,
    "patch_size": [16, 16, 16],
    "spacing": [1.0, 1.0, 1.0],
    "UNet_class_name": "PlainConvUNet",
    "UNet_base_num_features": 8,
    "unet_max_num_features": 16,
    "n_conv_per_stage_encoder": [2, 2],
    "n_conv_per_stage_decoder": [2],
    "num_pool_per_axis": [1, 1, 1],
    "pool_op_kernel_sizes": [[1, 1, 1], [2, 2, 2]],
    "conv_kernel_sizes": [[3, 3, 3], [3, 3, 3]],
    "batch_dice": True,
    "next_stage": "3d_cascade_fullres",
}
"""A configuration as nnU-Net 2.0 to 2.2 wrote it."""


@pytest.mark.parametrize("planner", [ExperimentPlanner, nnUNetPlannerResEncM], ids=lambda planner: planner.__name__)
def test_plans_of_nnunets_own_planners_pass_and_are_resolved_as_nnunet_resolves_them(tmp_path, monkeypatch, planner):
    manager = make_plans(Workspace(tmp_path), monkeypatch, planner, GEOMETRIES["isotropic"], 1)
    folder = tmp_path / "preprocessed" / "Dataset009_Toy"
    plans = Plans.read(folder / f"{manager.plans_name}.json")
    dataset = Dataset.read(tmp_path / "raw" / "Dataset009_Toy" / "dataset.json")
    assert set(plans.configurations) == {"2d", "3d_lowres", "3d_fullres", "3d_cascade_fullres"}
    for name in plans.configurations:
        setup, theirs = Setup(plans, name, dataset), PlansManager(plans.content).get_configuration(name)
        assert setup.patch_size == tuple(theirs.patch_size)
        assert setup.network_class == theirs.network_arch_class_name
        assert setup.strides == [tuple(stride) for stride in theirs.pool_op_kernel_sizes]
        assert setup.previous_stage == theirs.previous_stage_name
        assert setup.input_channels == (3 if name == "3d_cascade_fullres" else 1)


def test_plans_of_older_versions_pass_and_have_todays_architecture():
    setup = Setup(Plans.of({"configurations": {"3d_fullres": OLD}}, "old.json"), "3d_fullres", Dataset.of(DATASET, "d"))
    assert setup.network_class.endswith("PlainConvUNet")
    assert setup.strides == [(1, 1, 1), (2, 2, 2)]
    assert "UNet_class_name" in setup.plans.content["configurations"]["3d_fullres"], "the plans themselves are changed"


def test_a_configuration_may_leave_out_all_that_it_inherits_and_unknown_keys_pass():
    plans = {
        "configurations": {"base": OLD, "large": {"inherits_from": "base", "batch_size": 4, "of_my_own": [1]}},
        "x": 1,
    }
    setup = Setup(Plans.of(plans, "mine.json"), "large", Dataset.of(DATASET, "d"))
    assert setup.said.batch_size == 4
    assert setup.patch_size == (16, 16, 16)


@pytest.mark.parametrize(
    "labels",
    [
        {"background": 0, "a": "1"},
        {"background": 0, "a": [1]},
        {"background": 0, "a": 1.0},
        {"background": 0, "whole": [1, 2], "core": 2},
        {"background": 0, "a": 1, "ignore": 2},
    ],
)
def test_labels_in_every_form_that_nnunet_takes_pass(labels):
    from nnunetv2.utilities.label_handling.label_handling import LabelManager

    content = {**DATASET, "labels": labels, "regions_class_order": [1, 2]}
    manager = LabelManager(labels, [1, 2])
    found = manager.foreground_regions if manager.has_regions else manager.foreground_labels
    assert len(Dataset.of(content, "d").labels) == len(found)


def test_channels_under_their_older_name_are_in_the_order_of_their_numbers():
    content = {key: value for key, value in DATASET.items() if key != "channel_names"}
    names = {str(number): f"channel {number}" for number in (10, 2, 0)}
    assert Dataset.of({**content, "modality": names}, "d").channel_names == ["channel 0", "channel 2", "channel 10"]


def test_a_dice_of_nan_passes_as_nnunet_writes_it(tmp_path):
    values = {"Dice": math.nan, "IoU": math.nan, "n_ref": 0, "n_pred": 0, "TP": 0}
    case = {"prediction_file": "p", "reference_file": "r", "metrics": {"1": values}}
    text = json.dumps({"metric_per_case": [case], "mean": {}, "foreground_mean": {}})
    assert "NaN" in text
    summary = checked(json.loads(text), SummaryFile, "summary.json")
    assert math.isnan(summary.metric_per_case[0].metrics["1"].dice)


def test_the_key_of_an_object_is_named_even_where_several_are_like_it():
    good = {"Dice": 1.0, "IoU": 1.0, "n_ref": 1, "n_pred": 1}
    metrics = {"1": good, "(1, 2)": {**good, "IoU": "x"}, "3": good}
    content = {"metric_per_case": [{"prediction_file": "p", "reference_file": "r", "metrics": metrics}]}
    with pytest.raises(InputError, match=r"s: .*\[0\]\.metrics\.\(1, 2\)\.IoU must be a number, and is text"):
        checked(content, SummaryFile, "s")


def test_every_stand_in_is_listed_with_what_it_stands_for():
    """The list is what to look at when a new nnU-Net comes."""
    defined = [
        name for name, value in vars(stand_ins).items() if getattr(value, "__module__", "") == stand_ins.__name__
    ]
    assert defined
    for name in defined:
        assert f"{name}, for the " in stand_ins.__doc__ or f"{name}, for its " in stand_ins.__doc__, name


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("words", [["--help"], ["compare", "--help"], ["doctor"]])
def test_a_full_disk_is_one_sentence(words):
    with open("/dev/full", "w") as full:
        done = subprocess.run([COMMAND, *words], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert "No space left on device" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("words", ["-h", "doctor --json"])
def test_a_reader_that_stops_early_is_one_sentence_and_no_traceback(words):
    script = f'"{COMMAND}" {words} | true'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_what_the_system_refuses_names_the_file(monkeypatch, capsys):
    def refuse(arguments):
        raise PermissionError(13, "Permission denied", "/some/file")

    monkeypatch.setattr("nnunet_prosma.metrics.main", refuse)
    assert command.main(["metrics"]) == 2
    assert capsys.readouterr().err == "nnunet-prosma metrics: /some/file cannot be read or written: Permission denied\n"


def test_doctor_says_what_the_other_commands_would_refuse(tmp_path):
    (tmp_path / "file").write_text("")
    status, out, error = run_as_newcomer(
        COMMAND, "doctor", nnUNet_raw=str(tmp_path / "file"), NNUNET_PROSMA_PATH="sideways"
    )
    assert (status, error) == (1, "")
    assert f"PROBLEM: nnUNet_raw is {tmp_path / 'file'}, which is a file: nnU-Net needs a folder there" in out
    assert "PROBLEM: the environment variable NNUNET_PROSMA_PATH must be one of" in out
    assert "got 'sideways'; unset it" in out
    assert doctor.folder_state(str(tmp_path / "file"))["state"] == "is a file, and must be a folder"


def test_another_spacing_and_a_mask_that_is_none_are_refused(tmp_path, capsys):
    import numpy as np
    from hand_built import write_image

    one = np.ones((4, 4, 4), np.uint8)
    write_image(tmp_path / "truth" / "case.nii.gz", one)
    for array, spacing, says in (
        (one, (1.0, 1.0, 2.0), "it has a spacing of 2 x 1 x 1, its ground truth 1 x 1 x 1"),
        (one * np.float32(0.5), (1.0, 1.0, 1.0), "must be a segmentation, of whole numbers"),
        (one * np.float32(math.nan), (1.0, 1.0, 1.0), "numbers"),
    ):
        write_image(tmp_path / "predictions" / "case.nii.gz", array, spacing=spacing)
        assert command.main(["metrics", str(tmp_path / "predictions"), str(tmp_path / "truth")]) == 2, says
        assert_matches(says, capsys.readouterr().err)


def assert_matches(pattern, text):
    import re

    assert re.search(pattern, text), text


def test_a_picture_that_would_fill_the_memory_is_refused(tmp_path, monkeypatch, capsys):
    from PIL import Image

    for kind in ("benign", "malignant"):
        (tmp_path / "busi" / kind).mkdir(parents=True)
        for number in range(3):
            for end in ("", "_mask"):
                Image.new("L", (30, 30), 255).save(tmp_path / "busi" / kind / f"{kind} ({number}){end}.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "raw"))
    assert command.main(["convert", "busi", str(tmp_path / "busi"), "77"]) == 2
    assert "benign (0).png cannot be read" in capsys.readouterr().err
    assert not list(tmp_path.glob("raw/*"))


def test_planning_writes_nothing_with_a_preprocessor_that_nnunet_does_not_have(tmp_path, monkeypatch, capsys):
    workspace = Workspace(tmp_path)
    make_plans(workspace, monkeypatch, ExperimentPlanner, GEOMETRIES["isotropic"], 1)
    before = sorted(path.name for path in (tmp_path / "preprocessed" / "Dataset009_Toy").iterdir())
    assert command.main(["plan", "-d", "9", "-preprocessor_name", "Nope"]) == 2
    assert "nnU-Net has no preprocessor 'Nope'" in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "preprocessed" / "Dataset009_Toy").iterdir()) == before
