"""Gated networks for the plans that nnU-Net's own planners make, on torch's meta device: shapes without arithmetic."""

import json

import pytest
import torch
from datasets import write_dataset
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.experiment_planning.experiment_planners.residual_unets.residual_encoder_unet_planners import (
    nnUNetPlannerResEncL,
    nnUNetPlannerResEncM,
    nnUNetPlannerResEncXL,
)
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from workspace import Workspace

from nnunet_prosma.decoder import gates_of
from nnunet_prosma.trainers import nnUNetTrainerAttentionGate, nnUNetTrainerProSMA

PLANNERS = [ExperimentPlanner, nnUNetPlannerResEncM, nnUNetPlannerResEncL, nnUNetPlannerResEncXL]
GEOMETRIES = {
    "isotropic": {"spacing": [1.0, 1.0, 1.0], "shape": [420, 512, 512]},
    "anisotropic": {"spacing": [8.0, 0.6, 0.6], "shape": [90, 1280, 1280]},
}


def make_plans(workspace, monkeypatch, planner, geometry, channels):
    """As nnUNetv2_plan_experiment does, from a fingerprint of images that need not exist."""
    for name in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{name}", str(workspace.path / name))
    write_dataset(workspace.raw, "Dataset009_Toy", cases=2, size=(4, 4, 4), channels=channels, numTraining=40)
    statistics = {"max": 1, "mean": 0, "median": 0, "min": -1, "percentile_00_5": -1, "percentile_99_5": 1, "std": 1}
    fingerprint = {
        "spacings": [geometry["spacing"]] * 3,
        "shapes_after_crop": [geometry["shape"]] * 3,
        "median_relative_size_after_cropping": 1.0,
        "foreground_intensity_properties_per_channel": {str(c): statistics for c in range(channels)},
    }
    folder = workspace.preprocessed / "Dataset009_Toy"
    folder.mkdir()
    (folder / "dataset_fingerprint.json").write_text(json.dumps(fingerprint))
    return PlansManager(planner(9).plan_experiment())


@pytest.mark.slow
@pytest.mark.parametrize("planner", PLANNERS, ids=lambda planner: planner.__name__)
@pytest.mark.parametrize(("geometry", "channels"), [("isotropic", 1), ("anisotropic", 3)])
def test_every_planned_network_gets_a_gate_on_each_skip(tmp_path, monkeypatch, capsys, planner, geometry, channels):
    with torch.device("meta"):
        plans = make_plans(Workspace(tmp_path), monkeypatch, planner, GEOMETRIES[geometry], channels)
        assert set(plans.available_configurations) == {"2d", "3d_lowres", "3d_fullres", "3d_cascade_fullres"}
        before = json.dumps(plans.plans)
        for name in plans.available_configurations:
            configuration = plans.get_configuration(name)
            inputs = channels + (2 if name == "3d_cascade_fullres" else 0)
            patch = torch.zeros(1, inputs, *configuration.patch_size)
            vanilla, gated, dense = (
                trainer.build_network_architecture(plans, configuration, inputs, 3, True)
                for trainer in (nnUNetTrainer, nnUNetTrainerProSMA, nnUNetTrainerAttentionGate)
            )
            skips = len(configuration.pool_op_kernel_sizes) - 1
            expected = [output.shape for output in vanilla(patch)]
            for network in (gated, dense):
                assert [gate for gate, _ in gates_of(network)] == [f"decoder.gates.{s}" for s in range(skips)]
                assert [output.shape for output in network(patch)] == expected
                shared = {key: value.shape for key, value in vanilla.state_dict().items()}
                assert shared.items() <= {key: value.shape for key, value in network.state_dict().items()}.items()
                more = network.compute_conv_feature_map_size(configuration.patch_size)
                assert more > vanilla.compute_conv_feature_map_size(configuration.patch_size)
            for (_, gate), kernel in zip(
                gates_of(gated), configuration.network_arch_init_kwargs["kernel_sizes"][-2::-1], strict=True
            ):
                assert [branch.kernel_size for branch in gate.branches] == [tuple(kernel)] * 3
        assert json.dumps(plans.plans) == before, "the shared plans were edited"
        if geometry == "anisotropic":
            assert plans.get_configuration("3d_fullres").network_arch_init_kwargs["kernel_sizes"][0] == (1, 3, 3)
