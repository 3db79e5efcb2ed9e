"""The fast path against the definition: the gate's own forward, and a concatenation."""

import warnings

import pytest
import torch
from gates import assert_equal, gate_and_inputs, reference, values_and_gradients
from networks import build, image
from torch import nn

from nnunet_prosma.architectures import ProSMAUNet
from nnunet_prosma.decoder import describe_gates, gates_of
from nnunet_prosma.fast.concatenation import (
    KEEPS_LITTLE_COMPILED,
    VARIABLE,
    _say_once,
    chosen_path,
    gated_concatenation,
)
from nnunet_prosma.fast.field import CHUNK
from nnunet_prosma.fast.fused import _concatenate, fused_concatenation
from nnunet_prosma.fast.values import parameter_names
from nnunet_prosma.gate import AttentionGate, GateConfig, ProSMAGate

CPU = torch.device("cpu")
SETTINGS = {
    "default": GateConfig(lam=0.3),
    "spatial only": GateConfig(lam=0.3, channel=False),
    "hard removal": GateConfig(lam=0.3, removal="hard"),
    "residual": GateConfig(lam=0.3, residual=True),
    "residual, spatial only": GateConfig(lam=0.3, residual=True, channel=False),
    "others": GateConfig(lam=0.3, dilations=(1, 3), kernel_size=5, latent_reduction=1),
    "16 latent channels": GateConfig(lam=0.3, min_channels=16),  # no less than NARROW
    "5 latent channels": GateConfig(lam=0.3, latent_reduction=3, min_channels=5),
}
SHAPES = [
    (nn.Conv2d, (9, 7), 3),
    (nn.Conv2d, (16, 16), (1, 3)),
    (nn.Conv2d, (2, 3), 3),  # smaller than the dilation
    (nn.Conv2d, (17, 19), 3),  # so many voxels that rows of several do not come out even
    (nn.Conv3d, (5, 9, 7), 3),
    (nn.Conv3d, (6, 8, 8), (1, 3, 3)),
    (nn.Conv3d, (6, 8, 7), (3, 1, 3)),
    (nn.Conv3d, (2, 3, 1), 3),
    (nn.Conv3d, (1, 6, 6), 3),
]


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize(("conv_op", "size", "kernel"), SHAPES, ids=str)
def test_the_fused_path_has_the_values_and_gradients_of_the_definition(conv_op, size, kernel, settings):
    given = gate_and_inputs(conv_op, size, kernel, SETTINGS[settings])
    assert_equal(values_and_gradients(fused_concatenation, *given), values_and_gradients(reference, *given), 0, 1e-12)


@pytest.mark.parametrize("conv_op", [nn.Conv2d, nn.Conv3d])
def test_in_float32_it_agrees_to_rounding(conv_op):
    size = {nn.Conv2d: (40, 40), nn.Conv3d: (12, 16, 16)}[conv_op]
    given = gate_and_inputs(conv_op, size, 3, GateConfig(lam=0.3), torch.float32)
    assert_equal(values_and_gradients(fused_concatenation, *given), values_and_gradients(reference, *given), 0, 2e-5)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")  # opcheck's own
@pytest.mark.parametrize("settings", ["spatial only", "residual"])
def test_the_operators_keep_torchs_rules_for_operators(settings):
    """Fake tensors as the real ones, registered gradients, nothing changed in place, the same under compilation."""
    config = SETTINGS[settings]
    gate, skip, signal = gate_and_inputs(nn.Conv2d, (9, 7), 3, config)
    parameters = dict(gate.named_parameters())
    names = parameter_names(len(config.dilations), config.channel, config.residual)
    assert sorted(names) == sorted(parameters)
    values = [parameters[name] for name in names]
    given = (signal, skip, values, list(config.dilations), config.channel, config.removal == "hard", config.residual)
    assert set(torch.library.opcheck(_concatenate, given).values()) == {"SUCCESS"}


@pytest.mark.skipif(not KEEPS_LITTLE_COMPILED, reason="torch 2.4 compiles gates in several graphs, by the other path")
@pytest.mark.parametrize("training", [True, False])
def test_a_compiled_network_keeps_the_operator_in_one_graph(training):
    graphs = []

    def keep(graph, _):
        graphs.append([node.target for node in graph.graph.nodes if node.op == "call_function"])
        return graph

    torch._dynamo.reset()
    network = build(ProSMAUNet, 2).train(training)
    compiled = torch.compile(network, fullgraph=True, backend=keep)
    with torch.set_grad_enabled(training):
        outputs = compiled(image(2))
        expected = network(image(2))
    for ours, theirs in zip(outputs, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    assert len(graphs) == 1
    assert sum(t is torch.ops.nnunet_prosma.gated_concatenation.default for t in graphs[0]) == 2


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_in_half_precision_with_wide_parameters_it_is_as_close_as_autocast(dtype):
    """What a GPU runs under autocast; here the operator is called with the inputs that autocast would make."""
    config = GateConfig(lam=0.3)
    exact = gate_and_inputs(nn.Conv3d, (6, 8, 7), 3, config)
    gate, skip, signal = gate_and_inputs(nn.Conv3d, (6, 8, 7), 3, config, torch.float32)
    parameters = dict(gate.named_parameters())
    names = parameter_names(3, True)

    def concatenate(gate, skip, signal):
        values = [parameters[name] for name in names]
        return _concatenate(signal.to(dtype), skip.to(dtype), values, [1, 2, 4], True, False, False)[0]

    def autocast(gate, skip, signal):
        with torch.autocast("cpu", dtype):
            return reference(gate, skip, signal).to(dtype)

    truth = values_and_gradients(reference, *exact)
    ours, theirs = (values_and_gradients(f, gate, skip, signal) for f in (concatenate, autocast))
    assert ours[0].dtype == dtype
    assert [g.dtype for g in ours[1:]] == [torch.float32] * (len(truth) - 1)

    def errors(given):
        pairs = zip(given, truth, strict=True)
        return torch.stack([(a.double() - b).norm() / b.norm() for a, b in pairs])

    assert (errors(ours) <= 1.5 * errors(theirs) + 1e-3).all()


def test_samples_worked_on_apart_and_together_give_the_same():
    size = (224, 128)
    given = gate_and_inputs(nn.Conv2d, size, 3, GateConfig(lam=0.3))
    latent = size[0] * size[1] * len(given[0].theta)
    assert 2 * latent <= CHUNK["cpu"] < 3 * latent  # so that of three samples two are taken together and one apart
    assert_equal(values_and_gradients(fused_concatenation, *given), values_and_gradients(reference, *given), 0, 1e-12)


def test_a_batch_of_no_samples_has_gradients_that_are_zero():
    gate, skip, signal = gate_and_inputs(nn.Conv2d, (8, 6), 3, GateConfig())
    none = [tensor[:0].detach().requires_grad_() for tensor in (skip, signal)]
    ours, theirs = (values_and_gradients(path, gate, *none) for path in (fused_concatenation, reference))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_memory_formats_and_slices_do_not_matter():
    gate, skip, signal = gate_and_inputs(nn.Conv2d, (8, 6), 3, GateConfig())
    given = skip.detach()
    wide = torch.zeros(3, 12, 8, 12, dtype=torch.float64)
    wide[..., ::2] = given
    turned = given.transpose(2, 3).contiguous().transpose(2, 3)
    expected = values_and_gradients(reference, gate, skip, signal)
    for x in (given.to(memory_format=torch.channels_last), turned, wide[..., ::2]):
        assert not x.is_contiguous()
        assert_equal(values_and_gradients(fused_concatenation, gate, x.requires_grad_(), signal), expected, 0, 1e-12)


def test_only_what_needs_a_gradient_gets_one():
    gate, skip, signal = gate_and_inputs(nn.Conv2d, (8, 6), 3, GateConfig())
    gate.requires_grad_(False)
    fused_concatenation(gate, skip, signal.detach()).sum().backward()
    assert skip.grad is not None
    assert signal.grad is None
    with torch.no_grad():
        assert not fused_concatenation(gate, skip, signal).requires_grad


@pytest.mark.parametrize("kind", ["prosma", "attention"])
def test_the_recomputed_path_has_the_values_and_gradients_of_the_definition(kind, monkeypatch):
    gate, skip, signal = gate_and_inputs(nn.Conv2d, (9, 7), 3, GateConfig(lam=0.3))
    if kind == "attention":
        gate = AttentionGate(nn.Conv2d, 12, 10).double()
    expected = values_and_gradients(reference, gate, skip, signal)
    monkeypatch.setenv(VARIABLE, "recomputed")
    assert_equal(values_and_gradients(gated_concatenation, gate, skip, signal), expected, 0, 1e-12)


@pytest.mark.parametrize("path", ["fused", "recomputed"])
def test_autograd_keeps_no_latent_field(path, monkeypatch):
    """But the skip and the concatenation, and on the fused path psi and the average of the signal."""
    monkeypatch.setenv(VARIABLE, path)
    gate, skip, signal = gate_and_inputs(nn.Conv2d, (32, 32), 3, GateConfig(), torch.float32)
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out = gated_concatenation(gate, skip, signal)
    for parameter in gate.parameters():
        kept.pop(parameter.untyped_storage().data_ptr(), None)
    psi_and_average = [3 * 32 * 32, 3 * signal.shape[1]] if path == "fused" else []
    assert sorted(kept.values()) == sorted(4 * n for n in [skip.numel(), out.numel(), *psi_and_average])


def test_a_network_trains_alike_on_both_paths(monkeypatch):
    def all_gradients():
        network = build(ProSMAUNet, 3).train().double()
        sum(output.square().mean() for output in network(image(3).double())).backward()
        return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])

    fused = all_gradients()
    monkeypatch.setenv(VARIABLE, "reference")
    assert_equal([fused], [all_gradients()], 0, 1e-10)


def calls_of_forward(gate, monkeypatch):
    """Counted on the class: a gate with a forward of its own takes the reference path."""
    calls = []
    forward = type(gate).forward
    monkeypatch.setattr(type(gate), "forward", lambda *inputs: calls.append(1) or forward(*inputs))
    return calls


@pytest.mark.parametrize(
    ("forced", "forward", "with_backward"),
    [(None, 0, 0), ("fused", 0, 0), ("recomputed", 1, 2), ("reference", 1, 1)],
)
def test_the_path_can_be_forced(monkeypatch, forced, forward, with_backward):
    gate, skip, signal = gate_and_inputs(nn.Conv2d, (8, 6), 3, GateConfig())
    if forced:
        monkeypatch.setenv(VARIABLE, forced)
    seen = calls_of_forward(gate, monkeypatch)
    out = gated_concatenation(gate, skip, signal)
    assert len(seen) == forward
    out.sum().backward()
    assert len(seen) == with_backward


@pytest.mark.parametrize("hinder", ["norm", "hook", "autocast", "half precision"])
def test_what_the_fused_path_cannot_do_takes_the_recomputed_path(hinder, monkeypatch):
    config = GateConfig(norm="instance") if hinder == "norm" else GateConfig()
    gate, skip, signal = gate_and_inputs(nn.Conv2d, (8, 6), 3, config, torch.float32)
    if hinder == "hook":
        gate.register_forward_hook(lambda *_: None)
    if hinder == "half precision":
        gate, skip, signal = gate.bfloat16(), skip.bfloat16(), signal.bfloat16()
    seen = calls_of_forward(gate, monkeypatch)
    with torch.autocast("cpu", torch.bfloat16, enabled=hinder == "autocast"):
        gated_concatenation(gate, skip, signal)
    assert len(seen) == 1


def test_a_forced_path_that_cannot_run_is_said_once(monkeypatch):
    monkeypatch.setenv(VARIABLE, "fused")
    _say_once.cache_clear()
    gate, skip, signal = gate_and_inputs(nn.Conv2d, (8, 6), 3, GateConfig(norm="instance"))
    with pytest.warns(UserWarning, match=f"{VARIABLE}=fused, but the fused path is for gates without a norm"):
        gated_concatenation(gate, skip, signal)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gated_concatenation(gate, skip, signal)


def test_an_unknown_path_is_an_error(monkeypatch):
    monkeypatch.setenv(VARIABLE, "triton")
    with pytest.raises(
        ValueError, match=f"{VARIABLE} must be one of fused, recomputed, reference, or unset, got 'triton'"
    ):
        gated_concatenation(*gate_and_inputs(nn.Conv2d, (8, 6), 3, GateConfig()))


def test_the_chosen_path_is_said_with_its_reason(monkeypatch):
    gate = ProSMAGate(nn.Conv2d, 16, 16)
    assert chosen_path(gate, CPU) == "fused"
    asked = f"recomputed (the fused path has not been timed on this GPU, {VARIABLE}=fused asks for it)"
    assert chosen_path(gate, torch.device("cuda")) == asked
    assert chosen_path(gate, torch.device("mps")) == "recomputed (the fused path is for CPU and CUDA, not mps)"
    assert chosen_path(AttentionGate(nn.Conv2d, 16, 16), CPU) == "recomputed (the fused path is for ProSMA gates)"
    channel_only = ProSMAGate(nn.Conv2d, 16, 16, 3, GateConfig(spatial=False))
    assert chosen_path(channel_only, CPU) == "recomputed (the fused path is for gates with a spatial part)"
    monkeypatch.setenv(VARIABLE, "fused")
    assert chosen_path(gate, torch.device("cuda")) == "fused"
    monkeypatch.setattr("nnunet_prosma.fast.concatenation.has_triton", lambda: False)
    missing = "recomputed (the fused path needs Triton on a GPU, which is not installed)"
    assert chosen_path(gate, torch.device("cuda")) == missing
    monkeypatch.setenv(VARIABLE, "reference")
    assert chosen_path(gate, CPU) == f"reference ({VARIABLE} is set)"


def test_a_gate_with_a_part_of_somebodys_own_is_said_to_take_the_path_that_it_takes():
    gate = ProSMAGate(nn.Conv2d, 16, 16, 3, GateConfig(residual=True))
    assert chosen_path(gate, CPU) == "fused"
    gate.alpha = nn.Parameter(torch.zeros(16, 1, 1))
    assert chosen_path(gate, CPU) == "recomputed (the gate was not built with these layers)"
    gate = ProSMAGate(nn.Conv2d, 16, 16)
    gate.skip_proj = nn.Identity()
    assert chosen_path(gate, CPU) == "recomputed (the gate was not built with these layers)"
    gate.skip_proj = nn.Dropout()
    assert chosen_path(gate, CPU) == "reference (the gate has a Dropout of somebody's own)"


def test_the_training_logs_description_names_the_path():
    network = build(ProSMAUNet, 2)
    assert "computed on cpu by the path: fused" in describe_gates(network)
    assert [type(gate) for _, gate in gates_of(network)] == [ProSMAGate] * 2
