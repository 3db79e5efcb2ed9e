"""Every network of ours goes through every tool that asks for one: what a tool sees is what the network computes."""

import io
import json

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch
from fixtures_v0_1 import GATED, SIZES, VANILLA, folder_of, image, make_model
from hand_built import write_image
from networks import build_ours, gated_skips, image_of_ours, of_ours
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from torch import nn

from nnunet_prosma.architectures.gated_unet import GatedNetwork
from nnunet_prosma.benchmark.arithmetic import decoder_stages, parameter_count
from nnunet_prosma.bundle.facts import sparsity, thresholds
from nnunet_prosma.command import main
from nnunet_prosma.decoder import describe_gates, gates_of
from nnunet_prosma.inspect.predictor import WatchingPredictor
from nnunet_prosma.watch.observe import observe, summarise


@of_ours
def test_the_answer_while_somebody_looks_is_the_networks(ours):
    network, x, seen = build_ours(ours), image_of_ours(ours), []
    with torch.no_grad():
        looked = observe(network, x, lambda s, fields: seen.append((s, fields)))
        assert torch.equal(looked, network(x))
    assert isinstance(network, GatedNetwork)
    assert [s for s, _ in seen] == list(range(gated_skips(ours))) == network.decoder.gated()
    for _, fields in seen:
        assert "psi_mean" in summarise(fields)
    assert [name for name, _ in gates_of(network)] == [f"decoder.gates.{s}" for s in range(gated_skips(ours))]
    assert describe_gates(network).startswith("Gates on" if gated_skips(ours) else "No gates: ")


@of_ours
def test_what_the_planner_counts_is_the_convolutions_and_half_of_each_gates_latent_field(ours):
    """Counted by hooks, in a training with deep supervision where the network has it."""
    network, x, counted = build_ours(ours), image_of_ours(ours), []
    of_gates = {module for _, gate in gates_of(network) for module in gate.modules()}
    for module in network.modules():
        convolution = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)
        if isinstance(module, convolution) and module not in of_gates:
            module.register_forward_hook(lambda _, __, out: counted.append(out[0].numel()))
    for _, gate in gates_of(network):
        latent = gate.config.latent_channels
        gate.register_forward_pre_hook(
            lambda _, given, latent=latent: counted.append(latent(given[0].shape[1]) * given[0][0, 0].numel() // 2)
        )
    with torch.no_grad():
        network(x)
    plain = build_ours((*ours[:2], "none"))
    size = tuple(x.shape[2:])
    gates_alone = network.compute_conv_feature_map_size(size) - plain.compute_conv_feature_map_size(size)
    assert gates_alone == sum(counted) - counted_without_gates(plain, x)


def counted_without_gates(network, x):
    counted = []
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)):
            module.register_forward_hook(lambda _, __, out: counted.append(out[0].numel()))
    with torch.no_grad():
        network(x)
    return sum(counted)


@of_ours
def test_the_benchmark_and_the_model_card_tell_of_each_gate(ours):
    network, x = build_ours(ours), image_of_ours(ours)
    stages = decoder_stages(network, 1, x.shape[2:])
    assert len(stages) == gated_skips(ours)
    added = parameter_count(network) - parameter_count(build_ours((*ours[:2], "none")))
    assert sum(stage["parameters"] for stage in stages) == added
    with_thresholds = gated_skips(ours) if ours[2] in ("prosma", "hard") else 0
    assert len(list(thresholds(network.state_dict()))) == len(sparsity(network, x)) == with_thresholds


@of_ours
def test_it_is_exported_and_its_weights_are_read_by_weights_alone(ours):
    network, x = build_ours(ours), image_of_ours(ours)
    with torch.no_grad():
        expected = network(x)
        exported = torch.export.export(network, (x,)).module()
        torch.testing.assert_close(exported(x), expected, rtol=1e-5, atol=1e-5)
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    again = build_ours(ours)
    for parameter in again.parameters():
        parameter.data.zero_()
    file.seek(0)
    again.load_state_dict(torch.load(file, weights_only=True))
    with torch.no_grad():
        assert torch.equal(again(x), expected)


TRAINED = [
    ("nnUNetTrainerProSMA", VANILLA + "PlainConvUNet", 2),
    ("nnUNetTrainerProSMA_coarse2", VANILLA + "ResidualEncoderUNet", 3),
    ("nnUNetTrainerAttentionGate", VANILLA + "ResidualUNet", 2),
    ("nnUNetTrainerPUNet", GATED + "PUNet", 2),
    ("nnUNetTrainerProSMA_hardRemoval", GATED + "PUNet", 3),
    ("nnUNetTrainerPUNet_noGate", GATED + "PUNet", 2),
]


@pytest.fixture
def trained(request, tmp_path, monkeypatch):
    for variable in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(variable, str(tmp_path))
    trainer, network, dimensions = request.param
    make_model(tmp_path / "made", tmp_path, trainer, "somePlans", network, dimensions, None)
    return tmp_path / "made" / folder_of(trainer, "somePlans", dimensions), dimensions


@pytest.mark.parametrize("trained", TRAINED, indirect=True, ids=lambda t: f"{t[0]}-{t[2]}d")
def test_inspect_and_a_bundle_predict_as_nnunets_predictor(trained, tmp_path):
    from nnunet_prosma.bundle.command import write_model
    from nnunet_prosma.bundle.models import find_models
    from nnunet_prosma.bundle.network import build, read_setup

    folder, dimensions = trained
    data = torch.from_numpy(np.random.RandomState(1).standard_normal((1, 4, 40, 48)).astype(np.float32))
    predicted = []
    for kind in (nnUNetPredictor, WatchingPredictor):
        predictor = kind(device=torch.device("cpu"), perform_everything_on_device=False)
        predictor.initialize_from_trained_model_folder(str(folder), (0,), "checkpoint_final.pth")
        if not predictor.network.decoder.gated() and kind is WatchingPredictor:
            continue  # inspect says that there are none
        look = getattr(predictor, "watch", None)
        predicted.append(look(data).logits if look else predictor.predict_logits_from_preprocessed_data(data))
    for ours in predicted[1:]:
        assert torch.equal(ours, predicted[0])
    (model,) = find_models([folder], ["0"], "checkpoint_final.pth")
    write_model(tmp_path / "bundled", model)
    plans = json.loads((tmp_path / "bundled" / "plans.json").read_text())
    network = build(read_setup(tmp_path / "bundled", model.trained.configuration))
    weights = torch.load(tmp_path / "bundled" / "fold_0" / "checkpoint_final.pth", weights_only=True)
    network.load_state_dict(weights["network_weights"])
    with torch.no_grad():
        logits = network(torch.from_numpy(image(dimensions))).numpy()
    np.testing.assert_array_equal(logits, np.load(folder / "logits.npz")["logits"])
    assert plans["configurations"][model.trained.configuration]["architecture"]["arch_kwargs"]["gate"]["kind"] in (
        "none" if "noGate" in folder.name else "attention" if "Attention" in folder.name else "prosma"
    )


NAMED = [("nnUNetTrainerPUNet_noGate", "none", None), ("nnUNetTrainerProSMA_hardRemoval", "prosma", "hard")]


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize(("trainer", "kind", "removal"), NAMED, ids=[trainer for trainer, *_ in NAMED])
def test_a_bundle_of_a_p_unet_says_how_it_was_trained_and_segments_as_nnunets_predictor(
    trainer, kind, removal, dimensions, tmp_path, monkeypatch
):
    """By the commands bundle and predict; the plans of both trainers say nothing of a gate."""
    for variable in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(variable, str(tmp_path))
    make_model(tmp_path / "made", tmp_path, trainer, "somePlans", GATED + "PUNet", dimensions, None)
    folder = tmp_path / "made" / folder_of(trainer, "somePlans", dimensions)
    assert main(["bundle", "-m", str(folder), "-f", "0", "-o", str(tmp_path / "bundle")]) == 0
    (plans,) = (tmp_path / "bundle" / "models").glob("*/plans.json")
    (configuration,) = json.loads(plans.read_text())["configurations"].values()
    gate = configuration["architecture"]["arch_kwargs"]["gate"]
    assert (gate["kind"], gate["removal"] if removal else None) == (kind, removal)

    patch = (1, *SIZES[2]) if dimensions == 2 else SIZES[3]
    noise = np.random.RandomState(2).standard_normal([2 * n for n in patch]).astype(np.float32)
    write_image(tmp_path / "images" / "case_0000.nii.gz", noise)
    words = ["predict", tmp_path / "bundle", "-i", tmp_path / "images", "-o", tmp_path / "ours", "-device", "cpu"]
    assert main([str(word) for word in words]) == 0
    predictor = nnUNetPredictor(device=torch.device("cpu"), perform_everything_on_device=False)
    predictor.initialize_from_trained_model_folder(str(folder), (0,), "checkpoint_final.pth")
    (tmp_path / "theirs").mkdir()
    predictor.predict_from_files_sequential(
        [[str(tmp_path / "images" / "case_0000.nii.gz")]], [str(tmp_path / "theirs" / "case")]
    )
    ours, theirs = (
        sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / by / "case.nii.gz"))) for by in ("ours", "theirs")
    )
    np.testing.assert_array_equal(ours, theirs)
    assert len(np.unique(ours)) > 1
