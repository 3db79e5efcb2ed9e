import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from nnunet_prosma.gate import AttentionGate, GateConfig, ProSMAGate, gate_kernel, inverse_softplus

SIZES = {nn.Conv2d: (7, 6), nn.Conv3d: (3, 5, 6)}
both_dimensions = pytest.mark.parametrize("conv_op", [nn.Conv2d, nn.Conv3d], ids=["2d", "3d"])


def gate_and_inputs(conv_op, config=GateConfig(), skip_channels=12, signal_channels=10, kernel=3, dtype=torch.float64):
    """A gate of random weights, and of random biases too, with a skip and a signal for it."""
    generator = torch.manual_seed(7)
    gate_class = AttentionGate if config.kind == "attention" else ProSMAGate
    gate = gate_class(conv_op, skip_channels, signal_channels, kernel, config).to(dtype)
    for parameter in gate.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator, dtype=dtype)
    size = SIZES[conv_op]
    skip = torch.randn(2, skip_channels, *size, generator=generator, dtype=dtype)
    signal = torch.randn(2, signal_channels, *size, generator=generator, dtype=dtype)
    return gate, skip, signal


def by_the_formulas(gate, skip, signal):
    """Eq. 1-5 with loops over voxels, channels and kernel offsets, from the gate's weights alone; and its psi."""
    w = {name: p.detach().numpy() for name, p in gate.named_parameters()}
    x, g = skip.numpy(), signal.numpy()
    batch, channels, *size = x.shape
    latent = len(w["theta"])
    voxels = list(itertools.product(*map(range, size)))
    lam = [math.log1p(math.exp(t)) for t in w["theta"]]
    out, psis = np.zeros_like(x), np.zeros((batch, 1, *size))
    for b in range(batch):
        v = np.zeros((latent, *size))
        for a, p in itertools.product(range(latent), voxels):
            q = sum(w["skip_proj.weight"].reshape(latent, -1)[a, i] * x[(b, i, *p)] for i in range(x.shape[1]))
            k = sum(w["signal_proj.weight"].reshape(latent, -1)[a, i] * g[(b, i, *p)] for i in range(g.shape[1]))
            v[(a, *p)] = max(q + k + w["signal_proj.bias"][a], 0)
        scales = []
        for m, dilation in enumerate(gate.config.dilations):
            kernel = w[f"branches.{m}.weight"]
            d = np.zeros_like(v)
            for a, p in itertools.product(range(latent), voxels):
                for offset in itertools.product(*(range(k) for k in kernel.shape[2:])):
                    at = [i + dilation * (o - k // 2) for i, o, k in zip(p, offset, kernel.shape[2:], strict=True)]
                    if all(0 <= i < n for i, n in zip(at, size, strict=True)):
                        d[(a, *p)] += kernel[(a, 0, *offset)] * v[(a, *at)]
            scales.append(d)
        stacked = np.concatenate(scales)
        fuse = w["fuse.weight"].reshape(latent, -1)
        context = g[b].reshape(g.shape[1], -1).mean(1)
        hidden = np.maximum(w["mlp.0.weight"].reshape(-1, len(context)) @ context + w["mlp.0.bias"], 0)
        c = 1 / (1 + np.exp(-(w["mlp.2.weight"].reshape(channels, -1) @ hidden + w["mlp.2.bias"])))
        for p in voxels:
            z = []
            for a in range(latent):
                u = fuse[a] @ stacked[(slice(None), *p)] + w["fuse.bias"][a]
                z.append(math.copysign(max(abs(u) - lam[a], 0), u))
            psi = 1 / (1 + math.exp(-(w["psi.weight"].reshape(-1) @ np.array(z) + w["psi.bias"][0])))
            psis[(b, 0, *p)] = psi
            for i in range(channels):
                out[(b, i, *p)] = x[(b, i, *p)] * c[i] * psi
    return out, psis


@both_dimensions
@pytest.mark.parametrize("kernel", [3, (1, 3, 3)], ids=["isotropic", "anisotropic"])
def test_the_gate_is_equations_1_to_5(conv_op, kernel):
    plan_kernel = kernel if isinstance(kernel, int) else kernel[-len(SIZES[conv_op]) :]
    gate, skip, signal = gate_and_inputs(conv_op, kernel=plan_kernel)
    expected, psi = by_the_formulas(gate, skip, signal)
    torch.testing.assert_close(gate(skip, signal).detach().numpy(), expected, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(gate.fields(skip, signal).psi.detach().numpy(), psi, rtol=1e-12, atol=1e-13)


def test_a_kernel_of_1_in_the_plans_keeps_slices_apart():
    gate, skip, signal = gate_and_inputs(nn.Conv3d, GateConfig(channel=False), kernel=(1, 3, 3))
    assert [tuple(b.kernel_size) for b in gate.branches] == [(1, 3, 3)] * 3
    before = gate(skip, signal)
    skip[:, :, 0] += 1
    changed = (gate(skip, signal) != before).any(dim=(0, 1, 3, 4))
    assert changed.tolist() == [True, False, False]


@pytest.mark.parametrize(("plan", "kernel"), [(3, (5, 5, 5)), ((1, 3, 3), (1, 5, 5)), ((1, 1, 7), (1, 1, 5))])
def test_the_gates_kernel_follows_the_plans_axes(plan, kernel):
    assert gate_kernel(nn.Conv3d, plan, 5) == kernel


@both_dimensions
@pytest.mark.parametrize(
    "config",
    [
        GateConfig(lam=0.05),
        GateConfig(lam=0.05, channel=False),
        GateConfig(spatial=False),
        GateConfig(lam=0.05, norm="instance"),
        GateConfig(kind="attention"),
    ],
    ids=["prosma", "spatial only", "channel only", "instance norm", "attention"],
)
def test_gradients_match_finite_differences(conv_op, config):
    gate, skip, signal = gate_and_inputs(conv_op, config, skip_channels=4, signal_channels=3)
    skip, signal = (t[:1, ..., :3].contiguous().requires_grad_() for t in (skip, signal))
    assert torch.autograd.gradcheck(lambda x, g, *_: gate(x, g), (skip, signal, *gate.parameters()), fast_mode=True)


@both_dimensions
def test_either_part_can_be_switched_off(conv_op):
    gate, skip, signal = gate_and_inputs(conv_op)
    psi, c = gate.fields(skip, signal)[:2]
    for config, kept, expected in [
        (GateConfig(channel=False), "skip_proj signal_proj branches fuse theta psi", skip * psi),
        (GateConfig(spatial=False), "mlp", skip * c),
    ]:
        part = ProSMAGate(conv_op, 12, 10, 3, config).double()
        part.load_state_dict({k: v for k, v in gate.state_dict().items() if k.split(".")[0] in kept.split()})
        torch.testing.assert_close(part(skip, signal), expected)


@both_dimensions
def test_the_threshold_leaves_exact_zeros_yet_eq_5_removes_no_voxel(conv_op):
    gate, skip, signal = gate_and_inputs(conv_op, GateConfig(lam=100.0))
    fields = gate.fields(skip, signal)
    assert (fields.z == 0).all()
    torch.testing.assert_close(
        fields.psi, torch.sigmoid(gate.psi.bias).expand_as(fields.psi.flatten()).view_as(fields.psi)
    )
    assert (gate(skip, signal) != 0).all()


@both_dimensions
def test_hard_removal_is_zero_exactly_where_no_latent_channel_survives(conv_op):
    hard, skip, signal = gate_and_inputs(conv_op, GateConfig(removal="hard", lam=3.0))
    soft, _, _ = gate_and_inputs(conv_op, GateConfig(lam=3.0))
    removed = (hard.fields(skip, signal).z == 0).all(1, keepdim=True)
    assert 0.05 < removed.float().mean() < 0.95
    torch.testing.assert_close(hard(skip, signal), soft(skip, signal) * ~removed, rtol=0, atol=0)


def test_a_gate_under_its_thresholds_is_dead_its_gradients_are_exactly_zero():
    gate, skip, signal = gate_and_inputs(nn.Conv2d, GateConfig(lam=100.0, channel=False))
    gate(skip, signal).sum().backward()
    assert (gate.theta.grad == 0).all()
    assert (gate.fuse.weight.grad == 0).all()


def test_the_threshold_starts_at_lam():
    for lam in (0.01, math.log(2), 3.0, 50.0):
        assert math.isclose(math.log1p(math.exp(inverse_softplus(lam))), lam, rel_tol=1e-12)
        gate = ProSMAGate(nn.Conv2d, 16, 16, 3, GateConfig(lam=lam))
        torch.testing.assert_close(gate.lam, torch.full((8,), lam))


def test_with_instance_norm_the_zeros_do_not_depend_on_the_scale_of_the_weights():
    gate, skip, signal = gate_and_inputs(nn.Conv2d, GateConfig(norm="instance"))
    zeros = (gate.fields(skip, signal).z == 0).double().mean()
    gate.fuse.weight.data *= 50
    gate.fuse.bias.data *= 50
    torch.testing.assert_close((gate.fields(skip, signal).z == 0).double().mean(), zeros, rtol=0.02, atol=0)


@both_dimensions
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("config", [GateConfig(), GateConfig(kind="attention")], ids=["prosma", "attention"])
def test_under_autocast_it_stays_near_full_precision(conv_op, dtype, config):
    gate, skip, signal = gate_and_inputs(conv_op, config, dtype=torch.float32)
    with torch.autocast("cpu", dtype):
        out = gate(skip.to(dtype), signal.to(dtype))
    assert out.dtype == dtype
    error = (out.float() - gate(skip, signal)).norm() / gate(skip, signal).norm()
    assert error < (0.02 if dtype == torch.bfloat16 else 0.003)
    out.float().sum().backward()
    assert all(p.grad.dtype == torch.float32 and p.grad.isfinite().all() for p in gate.parameters())


def test_the_average_over_the_image_does_not_overflow_in_half_precision():
    gate = ProSMAGate(nn.Conv2d, 16, 16, 3, GateConfig(spatial=False))
    large = torch.full((1, 16, 64, 64), 300.0)  # sums to 1.2e6, float16 ends at 65504
    with torch.autocast("cpu", torch.float16):
        c = gate.what(large.half())
    torch.testing.assert_close(c.float(), gate.what(large), atol=2e-3, rtol=0)


def test_a_channel_gate_opens_each_channel_by_the_average_of_the_signal_alone():
    gate, skip, signal = gate_and_inputs(nn.Conv2d, GateConfig(spatial=False))
    shuffled = signal.flatten(2)[..., torch.randperm(signal[0, 0].numel())].view_as(signal)
    torch.testing.assert_close(gate(skip, shuffled), gate(skip, signal))


@both_dimensions
def test_the_dense_gate_is_additive_attention(conv_op):
    gate, skip, signal = gate_and_inputs(conv_op, GateConfig(kind="attention"))

    def normalised(projection, t):
        weight, scale, shift = (p.detach().numpy() for p in projection.parameters())
        y = np.einsum("oi,bi...->bo...", weight.reshape(weight.shape[:2]), t)
        axes = tuple(range(2, y.ndim))
        y = (y - y.mean(axes, keepdims=True)) / np.sqrt(y.var(axes, keepdims=True) + 1e-5)
        return y * scale.reshape(1, -1, *[1] * len(axes)) + shift.reshape(1, -1, *[1] * len(axes))

    hidden = np.maximum(normalised(gate.skip_proj, skip.numpy()) + normalised(gate.signal_proj, signal.numpy()), 0)
    psi = 1 / (1 + np.exp(-normalised(gate.psi, hidden)))
    torch.testing.assert_close(gate(skip, signal).detach().numpy(), skip.numpy() * psi)
    assert gate.fields(skip, signal).psi.shape == (2, 1, *SIZES[conv_op])
