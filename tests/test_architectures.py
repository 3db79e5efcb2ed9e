from functools import partial

import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from networks import both_dimensions, build, every_network, image
from torch import nn

from nnunet_prosma.architectures import ProSMAUNet
from nnunet_prosma.architectures.twins import gated_twin
from nnunet_prosma.benchmark.memory import kept_activations
from nnunet_prosma.decoder import gates_of
from nnunet_prosma.fast.concatenation import KEEPS_LITTLE_COMPILED
from nnunet_prosma.gate import GateConfig


def force_open(network):
    """c = psi = 1 exactly: sigmoid(inf), whatever the gate computes."""
    for _, gate in gates_of(network):
        for last in (gate.psi, gate.mlp[-1]):
            nn.init.zeros_(last.weight)
            nn.init.constant_(last.bias, torch.inf)


@every_network
@both_dimensions
def test_vanilla_state_dict_keys_stay_and_gates_only_add_theirs(gated, vanilla, dimensions):
    ours, theirs = build(gated, dimensions).state_dict(), build(vanilla, dimensions).state_dict()
    assert [key for key in ours if not key.startswith("decoder.gates.")] == list(theirs)
    assert {key.split(".")[3] for key in set(ours) - set(theirs)} == {
        *("skip_proj", "signal_proj", "branches", "fuse", "theta", "psi", "mlp")
    }


@every_network
@both_dimensions
@pytest.mark.parametrize("deep_supervision", [True, False])
def test_with_gates_forced_open_it_is_the_vanilla_network_bit_for_bit(gated, vanilla, dimensions, deep_supervision):
    reference = build(vanilla, dimensions, deep_supervision=deep_supervision)
    network = build(gated, dimensions, deep_supervision=deep_supervision)
    nn.Module.load_state_dict(network, reference.state_dict(), strict=False)
    x = image(dimensions)
    outputs, expected = network(x), reference(x)
    assert not torch.equal(outputs[0], expected[0])
    force_open(network)
    outputs, expected = network(x), reference(x)
    if not deep_supervision:
        outputs, expected = [outputs], [expected]
    assert len(outputs) == (2 if deep_supervision else 1)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(outputs, expected, strict=True))


@every_network
@both_dimensions
def test_the_gate_weighs_the_skip_and_leaves_the_signal(gated, vanilla, dimensions):
    """Gates forced shut leave a network that sees no skips: the vanilla one with its skips set to zero."""
    reference, network = build(vanilla, dimensions), build(gated, dimensions)
    nn.Module.load_state_dict(network, reference.state_dict(), strict=False)
    for _, gate in gates_of(network):
        nn.init.zeros_(gate.psi.weight)
        nn.init.constant_(gate.psi.bias, -torch.inf)
    skips = reference.encoder(image(dimensions))
    expected = reference.decoder([*(torch.zeros_like(skip) for skip in skips[:-1]), skips[-1]])
    for ours, theirs in zip(network(image(dimensions)), expected, strict=True):
        torch.testing.assert_close(ours, theirs)


@every_network
def test_the_feature_map_size_is_the_vanilla_networks_and_half_of_each_latent_field(gated, vanilla):
    size = (8, 16, 16)
    latent = 8 * 8 * 16 * 16 + 8 * 8 * 8 * 8
    without = build(vanilla, 3).compute_conv_feature_map_size(size)
    assert build(gated, 3).compute_conv_feature_map_size(size) - without == latent // 2
    assert build(gated, 3, gate=GateConfig(spatial=False)).compute_conv_feature_map_size(size) == without


@pytest.mark.skipif(not KEEPS_LITTLE_COMPILED, reason="compiled by torch before 2.13, gates keep more than is counted")
@pytest.mark.parametrize("gate", [GateConfig(), GateConfig(kind="attention")], ids=["prosma", "attention"])
def test_the_feature_map_size_grows_by_the_gates_as_what_autograd_keeps(gate, monkeypatch):
    """Compiled, as on a GPU, which keeps most of what is taken unasked: parted as inductor does, but not made into
    machine code. Of an nnU-Net's widths."""
    monkeypatch.setenv("NNUNET_PROSMA_PATH", "recomputed")
    wide = {"features_per_stage": [32, 64, 128], "n_conv_per_stage": [2, 2, 2], "n_conv_per_stage_decoder": [2, 2]}
    given = torch.randn(1, 2, 16, 32, 32)
    counts, eager, compiled = [], [], []
    for network in (build(PlainConvUNet, 3, **wide), build(ProSMAUNet, 3, gate=gate, **wide)):
        counts.append(network.compute_conv_feature_map_size((16, 32, 32)))
        eager.append(kept_activations(partial(network, given), network))
        run = torch.compile(network, backend="aot_eager_decomp_partition", fullgraph=True)
        run(given)  # what is measured uses hooks, under which nothing can be compiled
        compiled.append(kept_activations(partial(run, given), network))
    assert eager[1] / eager[0] <= 1.01
    assert counts[1] / counts[0] == pytest.approx(compiled[1] / compiled[0], abs=0.01)


def test_deep_supervision_can_be_switched_as_nnunet_does():
    network = build(ProSMAUNet, 2)
    assert isinstance(network(image(2)), list)
    network.decoder.deep_supervision = False
    assert network(image(2)).shape == (2, 3, 16, 16)


@both_dimensions
def test_nnunets_initialisation_leaves_the_share_of_zeros_that_the_default_lam_was_chosen_for(dimensions):
    network = build(ProSMAUNet, dimensions, features_per_stage=[32, 64, 128])
    gate = network.decoder.gates[-1]
    zeros = []
    gate.register_forward_hook(lambda g, inputs, _: zeros.append((g.fields(*inputs).z == 0).float().mean().item()))
    network(image(dimensions))
    assert 0.2 < zeros[0] < 0.8
    torch.testing.assert_close(gate.theta, torch.zeros(16))


def test_settings_reach_every_gate_as_a_dict_too():
    network = build(ProSMAUNet, 2, gate={"lam": 0.2, "dilations": [1, 2]})
    assert all(gate.config == GateConfig(lam=0.2, dilations=(1, 2)) for _, gate in gates_of(network))


def test_an_unknown_gate_setting_or_argument_is_an_error():
    with pytest.raises(ValueError, match="unknown gate setting 'lambda'; known are kind"):
        build(ProSMAUNet, 2, gate={"lambda": 1})
    with pytest.raises(TypeError, match="unexpected keyword argument 'gates'"):
        build(ProSMAUNet, 2, gates={})


@every_network
def test_each_vanilla_class_has_its_twin_and_a_twin_is_its_own(gated, vanilla):
    assert gated_twin(f"{vanilla.__module__}.{vanilla.__name__}") is gated
    assert gated_twin(f"nnunet_prosma.architectures.{gated.__name__}") is gated
    assert gated_twin(f"dynamic_network_architectures.architectures.moved_since.{vanilla.__name__}") is gated


@pytest.mark.parametrize(
    "name", ["dynamic_network_architectures.architectures.primus.Primus", "somewhere.NoSuchNet", "json.JSONDecoder"]
)
def test_a_class_without_a_twin_is_an_error_that_names_those_with_one(name):
    with pytest.raises(ValueError, match=f"{name}.*PlainConvUNet, ResidualEncoderUNet, ResidualUNet"):
        gated_twin(name)


@every_network
def test_a_checkpoint_without_gates_or_with_other_gates_is_refused(gated, vanilla):
    network = build(gated, 2)
    with pytest.raises(RuntimeError, match=f"a {gated.__name__} needs a checkpoint with gates .* has none"):
        network.load_state_dict(build(vanilla, 2).state_dict())
    with pytest.raises(RuntimeError, match=r"not those of this network \(they differ in decoder.gates.0.mlp.0.bias"):
        network.load_state_dict(build(gated, 2, gate={"channel": False}).state_dict())
    with pytest.raises(RuntimeError, match=r'Unexpected key\(s\) in state_dict: "decoder.gates.0.theta"'):
        build(vanilla, 2).load_state_dict(network.state_dict())
    network.load_state_dict(build(vanilla, 2).state_dict(), strict=False)
