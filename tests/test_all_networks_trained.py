"""A trained folder of every family of networks: warm-start, benchmark, and the segmentations of nnUNetv2_predict."""

import json

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch
from fixtures_v0_1 import DATASET, GATED, SIZES, VANILLA, folder_of, make_model, make_plans
from hand_built import write_image
from networks import OURS, PUNet, build_ours, image_of_ours
from workspace import Workspace

from nnunet_prosma import command
from nnunet_prosma.benchmark.measure import measure
from nnunet_prosma.benchmark.setting import from_file
from nnunet_prosma.benchmark.trainable import TrainableNetwork
from nnunet_prosma.decoder import gates_of
from nnunet_prosma.host.trainers import find_trainer
from nnunet_prosma.warm_start.transfer import transfer

FAMILIES = [
    ("nnUNetTrainerProSMA", "plainPlans", VANILLA + "PlainConvUNet", 2),
    ("nnUNetTrainerProSMA", "resencPlans", VANILLA + "ResidualEncoderUNet", 3),
    ("nnUNetTrainerAttentionGate", "residualPlans", VANILLA + "ResidualUNet", 2),
    ("nnUNetTrainerPUNet", "punetPlans", GATED + "PUNet", 3),
    ("nnUNetTrainerProSMA_hardRemoval", "hardPlans", GATED + "PUNet", 2),
    ("nnUNetTrainerPUNet_noGate", "nonePlans", GATED + "PUNet", 2),
]
of_families = pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f"{f[0]}-{f[2].rpartition('.')[2]}")


@pytest.mark.parametrize("kind", ["prosma", "attention"])
@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("network", OURS)
def test_a_warm_start_has_the_logits_of_the_network_without_gates(network, dimensions, kind):
    plain, gated = (build_ours((network, dimensions, k), deep_supervision=True) for k in ("none", kind))
    done = transfer(gated, plain.state_dict(), keep_weights=False, same_heads=True, first_layer=None)
    image = image_of_ours((network, dimensions, kind))
    with torch.no_grad():
        for ours, theirs in zip(gated(image), plain(image), strict=True):
            assert (ours - theirs).abs().max() < 1e-4 * theirs.abs().max()
    gates = {key for key in gated.state_dict() if ".gates." in key}
    assert gates == {key for key in done.new if ".gates." in key}
    assert len(dict(gates_of(gated))) == (4 if network is PUNet else 2)


@of_families
def test_the_benchmark_measures_it_as_its_trainer_trains_it(family, tmp_path):
    trainer, name, network, dimensions = family
    planned = make_plans(name, network, dimensions, None)
    (configuration,) = planned["configurations"]
    (tmp_path / "plans.json").write_text(json.dumps(planned))
    setting, device = from_file(tmp_path / "plans.json", configuration), torch.device("cpu")
    found = measure({"it": lambda: TrainableNetwork(setting, device, find_trainer(trainer))}, device, 1)["it"]
    stages = found["stages"]
    assert len(stages) == (0 if "noGate" in trainer else 4 if network.endswith("PUNet") and GATED in network else 2)
    deep = not trainer.startswith("nnUNetTrainerPUNet")  # the paper trains it without deep supervision
    built = setting.setup.network(find_trainer(trainer), deep, new=True)
    of_gates = [sum(p.numel() for p in gate.parameters()) for _, gate in gates_of(built)]
    assert sorted(stage["parameters"] for stage in stages) == sorted(of_gates)
    assert found["parameters"] == sum(p.numel() for p in built.parameters())
    assert found["kept_bytes"] > 0


@pytest.fixture(scope="module")
def predicted(tmp_path_factory):
    """The home, with what nnUNetv2_predict made of one image with each model; one process calls it for all."""
    home = tmp_path_factory.mktemp("families")
    places = {f"nnUNet_{part}": str(home / part) for part in ("raw", "preprocessed", "results")}
    commands = []
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in places.items():
            patch.setenv(variable, value)
        for trainer, name, network, dimensions in FAMILIES:
            folder = home / "results" / DATASET
            make_model(folder, home / "preprocessed", trainer, name, network, dimensions, None)
    for dimensions in (2, 3):
        patch_size = (1, *SIZES[2]) if dimensions == 2 else SIZES[3]
        noise = np.random.RandomState(dimensions).standard_normal([2 * n for n in patch_size]).astype(np.float32)
        write_image(home / f"images{dimensions}" / "case_0000.nii.gz", noise)
    for trainer, name, _, dimensions in FAMILIES:
        configuration = folder_of(trainer, name, dimensions).split("__")[2]
        named = ["-d", "9", "-tr", trainer, "-p", name, "-c", configuration, "-f", "0", "-device", "cpu"]
        files = ["-i", str(home / f"images{dimensions}"), "-o", str(home / "theirs" / name)]
        commands.append(["nnUNetv2_predict", *named, *files, "-npp", "0", "-nps", "0"])
    Workspace(home).run_all(*commands)
    return home


@pytest.mark.slow
@of_families
def test_the_segmentation_is_that_of_nnunetv2_predict(predicted, family, tmp_path, monkeypatch):
    """By inspect; what has no gates, which inspect refuses, by a bundle and predict."""
    trainer, name, _, dimensions = family
    for part in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{part}", str(predicted / part))
    model = predicted / "results" / DATASET / folder_of(trainer, name, dimensions)
    images, out = predicted / f"images{dimensions}", tmp_path / "out"
    if "noGate" in trainer:
        assert command.main(["bundle", "-m", str(model), "-f", "0", "-o", str(tmp_path / "bundle")]) == 0
        words = ["predict", tmp_path / "bundle", "-i", images, "-o", out / "segmentations"]
    else:
        words = ["inspect", "-m", model, "-f", "0", "-i", images, "-o", out]
    assert command.main([*map(str, words), "-device", "cpu", "--disable_progress_bar"]) == 0
    theirs, ours = (
        sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "case.nii.gz")))
        for folder in (predicted / "theirs" / name, out / "segmentations")
    )
    np.testing.assert_array_equal(ours, theirs)
    assert len(np.unique(theirs)) > 1
