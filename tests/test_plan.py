"""nnunet-prosma plan, on data sets that need no images, and once through nnU-Net's preprocessing and training."""

import json

import pytest
import torch
from datasets import write_dataset
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.experiment_planning.experiment_planners.residual_unets.residual_encoder_unet_planners import (
    nnUNetPlannerResEncM,
)
from workspace import Workspace

from nnunet_prosma import command
from nnunet_prosma.architectures import ProSMAUNet
from nnunet_prosma.gate import GateConfig
from nnunet_prosma.plan.command import PLANNERS, gate_settings
from nnunet_prosma.plan.planner import PLANNERS as CLASSES
from nnunet_prosma.plan.planner import ProSMAPlanner, ProSMAResEncMPlanner


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A data set with a fingerprint, as large images would have it, in nnU-Net's folders; the preprocessed one."""
    workspace = Workspace(tmp_path)
    for name in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{name}", str(workspace.path / name))
    write_dataset(workspace.raw, "Dataset009_Toy", cases=2, size=(4, 4, 4), numTraining=4000)
    statistics = {"max": 1, "mean": 0, "median": 0, "min": -1, "percentile_00_5": -1, "percentile_99_5": 1, "std": 1}
    fingerprint = {
        "spacings": [[1.0, 1.0, 1.0]] * 3,
        "shapes_after_crop": [[160, 160, 160]] * 3,
        "median_relative_size_after_cropping": 1.0,
        "foreground_intensity_properties_per_channel": {"0": statistics},
    }
    folder = workspace.preprocessed / "Dataset009_Toy"
    folder.mkdir()
    (folder / "dataset_fingerprint.json").write_text(json.dumps(fingerprint))
    return folder


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def plans_of(folder, name="nnUNetProSMAPlans"):
    return json.loads((folder / f"{name}.json").read_text())


@pytest.mark.parametrize(
    ("planner", "name"),
    [
        ("default", "nnUNetProSMAPlans"),
        ("ResEncM", "nnUNetProSMAResEncUNetMPlans"),
        ("ResEncL", "nnUNetProSMAResEncUNetLPlans"),
        ("nnUNetPlannerResEncXL", "nnUNetProSMAResEncUNetXLPlans"),
    ],
)
def test_plans_have_a_name_of_their_own_and_name_the_gated_network(folder, capsys, planner, name):
    assert command.main(["plan", "-d", "9", "-pl", planner]) == 0
    plans = plans_of(folder, name)
    assert plans["plans_name"] == name
    for configuration in plans["configurations"].values():
        architecture = configuration["architecture"]
        twin = "ProSMAUNet" if planner == "default" else "ProSMAResEncUNet"
        assert architecture["network_class_name"] == f"nnunet_prosma.architectures.gated_unet.{twin}"
        assert GateConfig.of(architecture["arch_kwargs"]["gate"]) == GateConfig()
    out = capsys.readouterr().out
    assert f"nnUNetv2_preprocess -d 9 -plans_name {name} -c 2d 3d_fullres\n" in out
    assert f"nnUNetv2_train 9 3d_fullres 0 -p {name}\n" in out


def test_there_is_a_planner_for_each_of_nnunets_and_each_keeps_its_defaults():
    assert set(PLANNERS.values()) == set(CLASSES)
    for name, gated in CLASSES.items():
        host = gated.__mro__[2]
        assert host.__name__ == name
        defaults = dict(zip(host.__init__.__code__.co_varnames[2:], host.__init__.__defaults__, strict=False))
        assert gated.memory_target_gb == defaults["gpu_memory_target_in_gb"]
        assert gated.plans_name == defaults["plans_name"].replace("nnUNet", "nnUNetProSMA", 1)


def test_the_estimate_counts_the_gates_and_is_the_same_on_the_meta_device(folder):
    plan = plan_quietly(ProSMAPlanner(9))["configurations"]["2d"]
    architecture = plan["architecture"]
    named = (architecture["network_class_name"], architecture["arch_kwargs"], architecture["_kw_requires_import"])
    real = ExperimentPlanner.static_estimate_VRAM_usage(plan["patch_size"], 1, 3, *named)
    without = {key: value for key, value in architecture["arch_kwargs"].items() if key != "gate"}
    planner = ProSMAPlanner(9)
    assert planner.static_estimate_VRAM_usage(plan["patch_size"], 1, 3, named[0], without, named[2]) == real
    vanilla = ("dynamic_network_architectures.architectures.unet.PlainConvUNet", without, named[2])
    assert real > ExperimentPlanner.static_estimate_VRAM_usage(plan["patch_size"], 1, 3, *vanilla)


@pytest.mark.parametrize(
    ("host", "gated"), [(ExperimentPlanner, ProSMAPlanner), (nnUNetPlannerResEncM, ProSMAResEncMPlanner)]
)
def test_patch_and_batch_shrink_so_far_that_the_budget_holds(folder, host, gated):
    with torch.device("meta"):
        vanilla = plan_quietly(host(9))
    planner = gated(9)
    plans = plan_quietly(planner)
    for name, configured in plans["configurations"].items():
        theirs = vanilla["configurations"][name]
        assert voxels(configured) <= voxels(theirs)
        dimensions = len(configured["patch_size"])
        architecture = configured["architecture"]
        estimate = planner.static_estimate_VRAM_usage(
            configured["patch_size"],
            1,
            3,
            architecture["network_class_name"],
            architecture["arch_kwargs"],
            architecture["_kw_requires_import"],
        )
        reference = planner.UNet_reference_val_2d if dimensions == 2 else planner.UNet_reference_val_3d
        of_batch = (
            planner.UNet_reference_val_corresp_bs_2d if dimensions == 2 else planner.UNet_reference_val_corresp_bs_3d
        )
        assert estimate * (configured["batch_size"] - 0.5) <= reference * of_batch


def test_nothing_that_is_there_is_overwritten(folder, capsys):
    with torch.device("meta"):
        plan_quietly(ExperimentPlanner(9))
        plan_quietly(nnUNetPlannerResEncM(9))
    (folder / "nnUNetPlans_2d").mkdir()
    (folder / "nnUNetPlans_2d" / "case.b2nd").write_text("data")
    before = contents(folder)
    assert command.main(["plan", "-d", "9"]) == 0
    assert command.main(["plan", "-d", "9", "-pl", "ResEncM", "--gate", "lam=0.1"]) == 0
    assert before.items() <= contents(folder).items()
    out = capsys.readouterr().out
    assert "data nnUNetPlans_2d, preprocessed already" in out
    assert "nnUNetv2_preprocess -d 9 -plans_name nnUNetProSMAPlans -c 3d_fullres\n" in out

    with_own = contents(folder)
    assert command.main(["plan", "-d", "9"]) == 0, "the same again is no loss"
    assert contents(folder) == with_own
    assert command.main(["plan", "-d", "9", "--gate", "lam=0.1"]) == 2
    assert "nnUNetProSMAPlans.json is there already and holds other plans" in capsys.readouterr().err
    described = folder.parents[1] / "raw" / "Dataset009_Toy" / "dataset.json"
    described.write_text(described.read_text() + "\n")  # nnU-Net's planner copies it before it saves
    assert command.main(["plan", "-d", "9", "--gate", "lam=0.1"]) == 2
    assert contents(folder) == with_own
    for arguments in ([], ["--overwrite"]):
        assert command.main(["plan", "-d", "9", "-overwrite_plans_name", "nnUNetPlans", *arguments]) == 2
        assert "was planned by ExperimentPlanner, not here" in capsys.readouterr().err
    assert contents(folder) == with_own
    assert command.main(["plan", "-d", "9", "--gate", "lam=0.1", "--overwrite"]) == 0
    assert plans_of(folder)["configurations"]["2d"]["architecture"]["arch_kwargs"]["gate"]["lam"] == 0.1


def test_another_memory_target_names_the_plans_after_it(folder, capsys):
    assert command.main(["plan", "-d", "9", "-gpu_memory_target", "4"]) == 0
    assert command.main(["plan", "-d", "9", "-gpu_memory_target", "8"]) == 0
    assert command.main(["plan", "-d", "9", "-gpu_memory_target", "8", "-overwrite_plans_name", "mine"]) == 0
    small, usual, mine = (plans_of(folder, f"{name}") for name in ("nnUNetProSMAPlans_4G", "nnUNetProSMAPlans", "mine"))
    assert voxels(small["configurations"]["2d"]) < voxels(usual["configurations"]["2d"])
    assert mine["configurations"]["3d_fullres"] == usual["configurations"]["3d_fullres"]


def test_data_of_the_vanilla_plans_are_used_only_where_they_are_the_same(folder):
    with torch.device("meta"):
        plan_quietly(ExperimentPlanner(9))
    plans = plan_quietly(ProSMAPlanner(9))["configurations"]
    assert {name: plan["data_identifier"] for name, plan in plans.items()} == {
        "2d": "nnUNetPlans_2d",
        "3d_fullres": "nnUNetPlans_3d_fullres",
    }
    planner = ProSMAPlanner(9, plans_name="finer", overwrite_target_spacing=[2.0, 2.0, 2.0])
    plans = plan_quietly(planner)["configurations"]
    assert {plan["data_identifier"] for plan in plans.values()} == {"finer_2d", "finer_3d_fullres"}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["lam=0.1", "dilations=1,3", "channel=false"], {"lam": 0.1, "dilations": [1, 3], "channel": False}),
        (['{"lam": 0.1}', "removal=hard"], {"lam": 0.1, "removal": "hard"}),
        (["dilations=2"], {"dilations": [2]}),
    ],
)
def test_gate_settings_are_words_or_json(words, expected):
    assert gate_settings(words) == GateConfig.of(expected).to_dict()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-d", "9", "--gate", "lambda=1"], "unknown gate setting 'lambda'; known are kind"),
        (["-d", "9", "--gate", "lam"], "takes NAME=VALUE, such as lam=0.1, or one JSON object, got 'lam'"),
        (["-d", "9", "--gate", "{lam: 1}"], "or one JSON object, got '{lam: 1}'"),
        (["-d", "9", "-pl", "ResEncS"], "-pl must be one of default, ResEnc, ResEncM"),
        (["-d", "9", "-gpu_memory_target", "0"], "-gpu_memory_target must be above 0, got 0"),
        (["-d", "9", "-overwrite_plans_name", "a/b"], "without folder and ending, got 'a/b'"),
        (["-d", "8"], "nnU-Net knows no data set 8: Could not find a dataset with the ID 8"),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(folder, capsys, arguments, message):
    assert command.main(["plan", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_missing_fingerprint_and_missing_folders_are_named(folder, capsys, monkeypatch):
    (folder / "dataset_fingerprint.json").unlink()
    assert command.main(["plan", "-d", "9"]) == 2
    assert "dataset_fingerprint.json is missing: run nnUNetv2_extract_fingerprint -d 9 first" in capsys.readouterr().err
    monkeypatch.delenv("nnUNet_raw")
    assert command.main(["plan", "-d", "9"]) == 2
    assert "the environment variable nnUNet_raw is not set" in capsys.readouterr().err


@pytest.mark.slow
def test_planned_data_are_preprocessed_and_trained_by_nnunets_own_commands(tmp_path):
    workspace = Workspace(tmp_path)
    write_dataset(workspace.raw, "Dataset009_Toy", cases=5)
    workspace.run("nnUNetv2_extract_fingerprint", "-d", 9, "-np", 1)
    printed = workspace.run("nnunet-prosma", "plan", "-d", "9", "--gate", "lam=0.1")
    assert "3d_fullres: ProSMAUNet, patch 16x24x24" in printed
    assert "to be preprocessed" in printed
    preprocess = ("nnUNetv2_preprocess", "-d", 9, "-plans_name", "nnUNetProSMAPlans", "-c", "3d_fullres", "-np", 1)
    workspace.run(*preprocess)
    workspace.train(9, "3d_fullres", 0, "nnUNetTrainerShort", "-p", "nnUNetProSMAPlans", SHORT_TRAINER_EPOCHS="1")
    fold = workspace.fold("nnUNetTrainerShort", plans="nnUNetProSMAPlans")
    weights = torch.load(fold / "checkpoint_final.pth", weights_only=False)["network_weights"]
    assert {key for key in weights if key.endswith("theta")} == {f"decoder.gates.{s}.theta" for s in range(2)}
    assert (fold / "validation" / "summary.json").exists()


def plan_quietly(planner):
    plans = planner.plan_experiment()
    if isinstance(planner, ProSMAPlanner):
        assert planner.UNet_class is ProSMAUNet
    return plans


def voxels(configured):
    """In a batch."""
    return configured["batch_size"] * torch.tensor([int(size) for size in configured["patch_size"]]).prod().item()
