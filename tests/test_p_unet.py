import pytest
import torch
from networks import both_dimensions
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from torch import nn
from torch.nn import functional as F

from nnunet_prosma.architectures import PUNet
from nnunet_prosma.architectures.twins import gated_twin
from nnunet_prosma.decoder import describe_gates, gates_of
from nnunet_prosma.gate import AttentionGate, GateConfig, ProSMAGate

FEATURES = [8, 12, 16, 20, 24]
CONV = {2: nn.Conv2d, 3: nn.Conv3d}
SIZE = {2: (32, 48), 3: (16, 16, 32)}
GATES = {
    "none": "none",
    "both": None,
    "spatial": {"channel": False},
    "channel": {"spatial": False},
    "attention": {"kind": "attention"},
}
every_gate = pytest.mark.parametrize("gate", GATES.values(), ids=GATES)


def build(dimensions, gate=None, **settings):
    torch.manual_seed(3)
    network = PUNet(2, 3, CONV[dimensions], features_per_stage=FEATURES, gate=gate, **settings)
    network.apply(network.initialize)
    for parameter in network.parameters():  # biases too must be in their places
        parameter.data += 0.05 * torch.randn_like(parameter)
    return network.eval()


def image(dimensions):
    return torch.randn(2, 2, *SIZE[dimensions], generator=torch.manual_seed(5))


def conv(module, x, padding=0, dilation=1):
    function = {2: F.conv2d, 3: F.conv3d}[x.ndim - 2]
    return function(x, module.weight, module.bias, padding=padding, dilation=dilation, groups=module.groups)


def conv_norm(module, x, padding):
    return F.instance_norm(conv(module.conv, x, padding), weight=module.norm.weight, bias=module.norm.bias)


def residual(block, x):
    inner = F.leaky_relu(conv_norm(block.conv1, x, 1), 0.01)
    shortcut = conv_norm(block.skip[0], x, 0) if isinstance(block.skip, nn.Sequential) else x
    return F.leaky_relu(conv_norm(block.conv2, inner, 1) + shortcut, 0.01)


def gate_by_the_paper(gate, x, g):
    """Equations 1 to 5."""
    v = F.relu(conv(gate.skip_proj, x) + conv(gate.signal_proj, g))
    scales = [conv(d, v, padding=s, dilation=s) for d, s in zip(gate.branches, (1, 2, 4), strict=True)]
    u = conv(gate.fuse, torch.cat(scales, 1))
    lam = torch.log1p(torch.exp(gate.theta)).view(1, -1, *[1] * (x.ndim - 2))
    z = torch.sign(u) * torch.clamp(u.abs() - lam, min=0)
    psi = torch.sigmoid(conv(gate.psi, z))
    context = g.mean(tuple(range(2, g.ndim)), keepdim=True)
    c = torch.sigmoid(conv(gate.mlp[2], F.relu(conv(gate.mlp[0], context))))
    return x * c * psi


def section_2_1(network, x):
    """The network written down anew: five levels, a residual bottleneck, four gated skips."""
    pool = {2: F.max_pool2d, 3: F.max_pool3d}[x.ndim - 2]
    mode = {2: "bilinear", 3: "trilinear"}[x.ndim - 2]
    stages = network.encoder.stages
    levels = [residual(stages[0], x)]
    for stage in stages[1:]:
        levels.append(residual(stage[1], pool(levels[-1], 2)))
    g = residual(network.bottleneck, levels[4])
    decoder = network.decoder
    for s, skip in enumerate(reversed(levels[:4])):
        up = F.interpolate(g, size=skip.shape[2:], mode=mode)
        up = F.leaky_relu(conv_norm(decoder.transpconvs[s].conv, up, 1), 0.01)
        kept = gate_by_the_paper(decoder.gates[s], skip, up) if decoder.gated() else skip
        g = residual(decoder.stages[s], torch.cat([up, kept], 1))
    return conv(decoder.seg_layers["3"], g)


@both_dimensions
@pytest.mark.parametrize("gate", [None, "none"], ids=["gated", "plain"])
def test_it_is_the_network_of_section_2_1(dimensions, gate):
    network, x = build(dimensions, gate), image(dimensions)
    with torch.no_grad():
        torch.testing.assert_close(network(x), section_2_1(network, x), rtol=1e-4, atol=1e-4)


@both_dimensions
@every_gate
def test_every_parameter_has_a_gradient_and_logits_have_the_images_size(dimensions, gate):
    """One without a gradient stops a training on several GPUs."""
    network = build(dimensions, gate)
    logits = network(image(dimensions))
    assert logits.shape == (2, 3, *SIZE[dimensions])
    logits.square().mean().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


@every_gate
def test_each_gate_setting_has_its_gates_on_the_four_skips(gate):
    network = build(2, gate)
    gates = [g for _, g in gates_of(network)]
    named = gate if gate == "none" else (gate or {}).get("kind")
    kind = {"none": None, "attention": AttentionGate}.get(named, ProSMAGate)
    expected = [] if kind is None else [kind] * 4
    assert [type(g) for g in gates] == expected
    if kind is ProSMAGate:
        assert all(g.config == GateConfig.of(gate) for g in gates)
    assert ("No gates: the 4 skips are plain" in describe_gates(network)) == (kind is None)


@both_dimensions
def test_gates_forced_open_leave_the_network_without_gates(dimensions):
    plain, gated = build(dimensions, "none"), build(dimensions)
    nn.Module.load_state_dict(gated, plain.state_dict(), strict=False)
    for _, gate in gates_of(gated):
        for last in (gate.psi, gate.mlp[-1]):
            nn.init.zeros_(last.weight)
            nn.init.constant_(last.bias, torch.inf)
    assert torch.equal(gated(image(dimensions)), plain(image(dimensions)))


def latent_field(config, skip):
    """Elements of one, for a skip (Cx, *S)."""
    return config.latent_channels(len(skip)) * skip[0].numel() if config.spatial else 0


@pytest.mark.parametrize(
    ("dimensions", "deep_supervision", "gate"),
    [(2, False, gate) for gate in GATES.values()] + [(2, True, None), (3, False, None)],
)
def test_the_feature_map_size_is_what_the_convolutions_put_out_and_half_of_each_gates_latent_field(
    dimensions, deep_supervision, gate
):
    """Counted by hooks."""
    network = build(dimensions, gate, deep_supervision=deep_supervision)
    counted = []
    of_gates = {module for _, g in gates_of(network) for module in g.modules()}
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Conv3d)) and module not in of_gates:
            module.register_forward_hook(lambda _, __, out: counted.append(out[0].numel()))
    for _, g in gates_of(network):
        g.register_forward_pre_hook(lambda g, given: counted.append(latent_field(g.config, given[0][0]) / 2))
    network(image(dimensions))
    assert network.compute_conv_feature_map_size(SIZE[dimensions]) == sum(counted)


def test_deep_supervision_gives_four_outputs_and_its_weights_predict_without():
    deep, shallow = build(2, deep_supervision=True), build(2)
    assert [tuple(out.shape[2:]) for out in deep(image(2))] == [(32, 48), (16, 24), (8, 12), (4, 6)]
    shallow.load_state_dict(deep.state_dict())
    deep.decoder.deep_supervision = False
    assert torch.equal(shallow(image(2)), deep(image(2)))
    assert [name for name in shallow.state_dict() if "seg_layers" in name] == [
        "decoder.seg_layers.3.weight",
        "decoder.seg_layers.3.bias",
    ]


def test_a_checkpoint_with_other_gates_is_refused():
    with pytest.raises(RuntimeError, match="a PUNet needs a checkpoint with gates"):
        build(2).load_state_dict(build(2, "none").state_dict())
    with pytest.raises(RuntimeError, match="the gates of the checkpoint are not those of this network"):
        build(2, "none").load_state_dict(build(2).state_dict())


def test_nnunet_builds_it_from_what_a_plans_file_holds():
    kwargs = {
        "n_stages": 5,
        "features_per_stage": FEATURES,
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3], [3, 3, 3], [3, 3, 3]],
        "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2], [2, 2, 2], [2, 2, 2]],
        "norm_op": "torch.nn.modules.batchnorm.BatchNorm3d",
        "norm_op_kwargs": {"eps": 1e-5},
        "nonlin": "torch.nn.ReLU",
        "nonlin_kwargs": {"inplace": True},
        "gate": {"lam": 0.2},
    }
    name = "nnunet_prosma.architectures.PUNet"
    network = get_network_from_plans(name, kwargs, ["conv_op", "norm_op", "nonlin"], 1, 2, deep_supervision=False)
    assert network(torch.randn(2, 1, 16, 32, 32)).shape == (2, 2, 16, 32, 32)
    assert [gate.config for _, gate in gates_of(network)] == [GateConfig(lam=0.2)] * 4
    assert network.decoder.gates[-1].branches[0].kernel_size == (1, 3, 3)
    assert gated_twin(name) is PUNet


def test_it_compiles():
    torch._dynamo.reset()
    network = build(2)
    compiled = torch.compile(network, backend="aot_eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(image(2)), network(image(2)), rtol=1e-4, atol=1e-4)


def test_other_than_five_levels_or_an_unknown_gate_is_an_error():
    with pytest.raises(ValueError, match=r"a P-UNET has 5 levels: .* features_per_stage \[8, 16\]"):
        PUNet(1, 2, nn.Conv2d, features_per_stage=[8, 16])
    with pytest.raises(ValueError, match="gate settings must be a GateConfig or a dict of its fields, got 'off'"):
        PUNet(1, 2, nn.Conv2d, gate="off")
