"""The gated network starts as the trained one without gates, and its gates learn; no training is needed to see that."""

import re
from pathlib import Path

import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from fixtures_v0_1 import GATED, folder_of, make_model
from hand_built import plans
from networks import both_dimensions, build, every_network, image
from nnunetv2.run.load_pretrained_weights import load_pretrained_weights

from nnunet_prosma import command
from nnunet_prosma.architectures import ProSMAUNet
from nnunet_prosma.architectures.carried_heads import carried_heads, carry_settings, with_heads
from nnunet_prosma.decoder import gates_of
from nnunet_prosma.errors import InputError
from nnunet_prosma.files import file_made_whole
from nnunet_prosma.host.checkpoints import read_checkpoint
from nnunet_prosma.host.dataset_json import Dataset
from nnunet_prosma.host.plans import Plans, Setup
from nnunet_prosma.host.schema import Architecture
from nnunet_prosma.warm_start.fit import allowed_differences, network_differences, same_outputs
from nnunet_prosma.warm_start.target import vanilla_network
from nnunet_prosma.warm_start.transfer import transfer

KINDS = [{}, {"channel": False}, {"spatial": False}, {"norm": "instance"}, {"kind": "attention"}]
every_kind = pytest.mark.parametrize("gate", KINDS, ids=str)


def trained(vanilla, dimensions):
    """As after a training: no bias is zero, no norm is neutral."""
    network = build(vanilla, dimensions)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return network


def started(gated, dimensions, weights, gate=None, keep_weights=False, **how):
    network = build(gated, dimensions, gate=gate or {})
    how = {"same_heads": True, "first_layer": None} | how
    return network, transfer(network, weights, keep_weights=keep_weights, **how)


def assert_same_logits(vanilla, gated, dimensions, share):
    with torch.no_grad():
        for theirs, ours in zip(vanilla(image(dimensions)), gated(image(dimensions)), strict=True):
            assert (theirs - ours).abs().max() < share * theirs.abs().max()


@every_network
@both_dimensions
@every_kind
def test_the_logits_are_those_of_the_network_without_gates(gated, vanilla, dimensions, gate):
    before = trained(vanilla, dimensions)
    after, done = started(gated, dimensions, before.state_dict(), gate)
    assert_same_logits(before, after, dimensions, 1e-5)
    assert len(done.divided) == 4 * (2 if "ResUNet" in gated.__name__ else 1)  # 2 stages, each layer under 2 keys
    changed = {k for k, v in before.state_dict().items() if not torch.equal(v, after.state_dict()[k])}
    assert changed == set(done.divided)
    assert {*done.copied, *done.divided, *done.new} == set(after.state_dict())


@every_network
@both_dimensions
def test_with_kept_weights_none_is_touched_and_the_logits_are_close(gated, vanilla, dimensions):
    before = trained(vanilla, dimensions)
    after, done = started(gated, dimensions, before.state_dict(), keep_weights=True)
    assert not done.divided
    assert all(torch.equal(value, after.state_dict()[key]) for key, value in before.state_dict().items())
    assert_same_logits(before, after, dimensions, 1e-3)


@every_network
@every_kind
def test_the_first_training_step_moves_every_part_of_every_gate(gated, vanilla, gate):
    network, _ = started(gated, 2, trained(vanilla, 2).state_dict(), gate)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    optimizer = torch.optim.SGD(network.parameters(), 1e-2, momentum=0.99, nesterov=True)
    target = torch.randint(0, 3, (2, 16, 16), generator=torch.Generator().manual_seed(0))
    torch.nn.functional.cross_entropy(network.train()(image(2))[0], target).backward()
    assert all(p.grad.abs().max() > 0 for _, module in gates_of(network) for p in module.parameters())
    optimizer.step()
    last = ("psi.bias", "psi.weight", "psi.1.bias", "psi.1.weight", "mlp.2.bias", "mlp.2.weight")
    after = {k: v for k, v in network.named_parameters() if "gates" in k and k.endswith(last)}
    assert all((value - before[name]).abs().max() > 1e-7 for name, value in after.items())


@every_network
def test_a_residual_gate_changes_nothing_and_no_weight_is_divided(gated, vanilla):
    before = trained(vanilla, 2)
    after, done = started(gated, 2, before.state_dict(), {"residual": True})
    assert_same_logits(before, after, 2, 1e-6)
    assert done.divided == []


@every_network
def test_only_skips_with_a_gate_are_divided(gated, vanilla):
    before = trained(vanilla, 2)
    after, done = started(gated, 2, before.state_dict(), {"stages": 1})
    assert_same_logits(before, after, 2, 1e-5)
    assert {key.split(".")[2] for key in done.divided} == {"0"}


def test_a_p_unet_without_gates_is_the_start_of_one_with(tmp_path, monkeypatch, capsys):
    for variable in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(variable, str(tmp_path))
    make_model(tmp_path / "made", tmp_path, "nnUNetTrainerPUNet_noGate", "somePlans", GATED + "PUNet", 2, None)
    folder = tmp_path / "made" / folder_of("nnUNetTrainerPUNet_noGate", "somePlans", 2)
    checkpoint, start = str(folder / "fold_0" / "checkpoint_final.pth"), str(tmp_path / "start.pth")
    assert command.main(["warm-start", checkpoint, "-tr", "nnUNetTrainerPUNet", "-o", start]) == 0
    said = capsys.readouterr().out
    tensors = 4 * 2 * 2  # stages; first convolution and projection; each under two names
    assert f"copied, the skip's half divided by the gate's openness: {tensors} tensors" in said
    share = float(re.search(r"logits differ from the checkpoint's by (\S+) of the largest", said)[1])
    assert share < 1e-5
    assert "decoder.gates.0.theta" not in said
    named = ["warm-start", checkpoint, "-tr", "nnUNetTrainerPUNet", "-o", start, "--overwrite", "--tensors"]
    assert command.main(named) == 0
    assert "\n  decoder.gates.0.theta\n" in capsys.readouterr().out


def test_gates_that_remove_voxels_cannot_start_open():
    with pytest.raises(InputError, match="cannot start open"):
        started(ProSMAUNet, 2, plain_weights(), {"removal": "hard"})


def plain_weights(**settings):
    return build(PlainConvUNet, 2, **settings).state_dict()


def test_other_classes_and_channels_leave_those_layers_new():
    network = build(ProSMAUNet, 2, num_classes=5, input_channels=1)
    first = "encoder.stages.0.0.convs.0.conv.weight"
    done = transfer(network, plain_weights(), keep_weights=False, same_heads=False, first_layer=first)
    new = {key for key in done.new if "gates" not in key}
    assert {key.rpartition("stages.0.0.")[2] for key in new if "seg_layers" not in key} == {
        "convs.0.conv.weight",
        "convs.0.all_modules.0.weight",
    }
    assert sum("seg_layers" in key for key in new) == 4
    assert network(image(2)[:, :1])[0].shape[1] == 5


def test_a_gated_checkpoint_and_another_networks_are_refused():
    with pytest.raises(InputError, match="has gates already"):
        started(ProSMAUNet, 2, build(ProSMAUNet, 2).state_dict())
    with pytest.raises(InputError, match=r"conv.weight is \(8, 1, 3, 3\), and the training's network needs \(8, 2, 3"):
        started(ProSMAUNet, 2, plain_weights(input_channels=1))
    with pytest.raises(InputError, match="has no place in a ProSMAUNet of its plans"):
        started(ProSMAUNet, 2, plain_weights() | {"encoder.stages.9.weight": torch.zeros(1)})


def test_the_segmentation_layers_come_along_where_nnunet_leaves_them_out(tmp_path, capsys):
    start, _ = started(ProSMAUNet, 2, plain_weights())
    torch.save(with_heads(start.state_dict()), tmp_path / "start.pth")
    for weights_only in (True, False):
        loaded = torch.load(tmp_path / "start.pth", weights_only=weights_only)
        assert len(carried_heads(loaded)) == 4
    other = build(ProSMAUNet, 2)
    as_nnunet = other.state_dict() | {key: value for key, value in loaded.items() if ".seg_layers." not in key}
    torch.nn.init.zeros_(other.decoder.seg_layers[0].weight)
    other.load_state_dict(as_nnunet)
    assert torch.equal(other.decoder.seg_layers[0].weight, start.decoder.seg_layers[0].weight)
    assert capsys.readouterr().out == "Segmentation layers are those of the warm start\n"

    more_classes = build(ProSMAUNet, 2, num_classes=7)
    more_classes.load_state_dict(
        more_classes.state_dict() | {key: value for key, value in loaded.items() if ".seg_layers." not in key}
    )
    assert "for another number of classes" in capsys.readouterr().out


def test_a_start_is_for_gates_of_its_own_settings(tmp_path, capsys):
    """Through nnU-Net's -pretrained_weights, which goes by names and shapes."""
    network = build(ProSMAUNet, 2)
    weights = {key: value.clone() for key, value in network.state_dict().items()}
    carry_settings(weights, network.decoder.config.to_dict())
    torch.save({"network_weights": weights}, tmp_path / "start.pth")
    load_pretrained_weights(build(ProSMAUNet, 2, gate={"lam": 0.1}), str(tmp_path / "start.pth"))
    with pytest.raises(RuntimeError, match=r"trained with other settings .*norm 'none' instead of 'instance'"):
        load_pretrained_weights(build(ProSMAUNet, 2, gate={"norm": "instance"}), str(tmp_path / "start.pth"))


def setup_of(labels, **changes):
    dataset = {"channel_names": {"0": "CT"}, "labels": labels, "file_ending": ".nii.gz", **changes}
    return Setup(Plans.of(plans(2, [16, 16], norm=True), "plans"), "2d", Dataset.of(dataset, "dataset.json"))


def test_outputs_of_regions_are_the_same_only_in_the_same_order():
    """nnU-Net numbers them as dataset.json lists them, and labels by their values."""
    regions = {"background": 0, "whole": [1, 2], "core": [2]}
    turned = {"background": 0, "core": [2], "whole": [1, 2]}
    one, other = setup_of(regions, regions_class_order=[1, 2]), setup_of(turned, regions_class_order=[2, 1])
    assert same_outputs(one, setup_of(regions, regions_class_order=[1, 2]))
    assert not same_outputs(one, other)
    assert any(sentence.startswith("labels were ") for sentence in allowed_differences(one, other))
    plain = {"background": 0, "liver": 1, "tumour": 2}
    assert same_outputs(setup_of(plain), setup_of(dict(reversed(plain.items()))))
    assert not same_outputs(setup_of(plain), setup_of({**plain, "liver": 2, "tumour": 1}))


def test_the_gated_network_is_held_against_that_of_the_checkpoints_own_trainer():
    for trainer, norm in (
        ("nnUNetTrainerBN", torch.nn.BatchNorm2d),
        ("nnUNetTrainerOfSomebody", torch.nn.InstanceNorm2d),
    ):
        setup = setup_of({"background": 0, "liver": 1})  # nnU-Net's own trainer changes its plans
        assert norm in {type(module) for module in vanilla_network(setup, trainer).modules()}


def test_what_differs_between_two_networks_is_named():
    plain = Architecture("x.PlainConvUNet", {"n_stages": 3, "strides": [[1, 1]]}, [])
    gated = Architecture("y.ProSMAUNet", {**plain.arch_kwargs, "gate": {"lam": 1}}, [])
    assert not list(network_differences(plain, gated))
    other = Architecture("x.ResidualEncoderUNet", {"n_stages": 4, "strides": [[1, 1]]}, [])
    assert list(network_differences(plain, other)) == [
        "its network is a PlainConvUNet, the training's a ResidualEncoderUNet",
        "its n_stages is 3, the training's 4",
    ]


class Malicious:
    def __reduce__(self):
        return (open, ("/tmp/nnunet_prosma_was_executed", "w"))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"network_weights": {}, "bomb": Malicious()}, "holds more than weights and plain values"),
        ({"state_dict": {}}, "must be a checkpoint of nnU-Net"),
        (b"PK\x03\x04 not a checkpoint", "cut off or damaged"),
        (b"root:x:0:0:root:/root:/bin/sh\n", "cut off or damaged"),
        (b"", "cut off or damaged"),
    ],
)
def test_no_code_of_a_checkpoint_is_executed_and_a_damaged_one_is_named(tmp_path, content, sentence):
    path = tmp_path / "checkpoint.pth"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(InputError, match=sentence):
        read_checkpoint(path)
    assert not Path("/tmp/nnunet_prosma_was_executed").exists()


def test_a_file_is_there_whole_or_not_at_all(tmp_path):
    path = tmp_path / "start.pth"
    path.write_text("earlier")

    with pytest.raises(UnicodeEncodeError, match="ascii"), file_made_whole(path, ours=Path.is_file) as temporary:
        temporary.write_text("half, and \N{SNOWMAN}", encoding="ascii")
    assert path.read_text() == "earlier"
    assert [p.name for p in tmp_path.iterdir()] == ["start.pth"]
