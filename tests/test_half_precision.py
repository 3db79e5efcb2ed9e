"""Gates in half precision: as close to exact as autocast allows, and numbers wherever vanilla nnU-Net has numbers."""

import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from dynamic_network_architectures.initialization.weight_init import InitWeights_He
from gates import reference
from networks import build, image
from torch import nn
from torch.nn import functional as F

from nnunet_prosma.architectures import ProSMAUNet
from nnunet_prosma.fast.choice import TOLERANCE
from nnunet_prosma.fast.concatenation import by_path
from nnunet_prosma.fast.fused import _concatenate
from nnunet_prosma.fast.values import values_of
from nnunet_prosma.gate import GateConfig, ProSMAGate

HALVES = (torch.float16, torch.bfloat16)
SCALES = (1.0, 10.0, 100.0, 1000.0, 10000.0, 30000.0)
CHANNELS = 32


def a_gate():
    """As nnU-Net initialises it."""
    torch.manual_seed(0)
    return ProSMAGate(nn.Conv2d, CHANNELS, CHANNELS, 3, GateConfig()).apply(InitWeights_He(1e-2))


def inputs(scale, dtype):
    """Features and a signal of this standard deviation, within the range of the precision."""
    torch.manual_seed(1)
    most = torch.finfo(torch.float16).max
    return [(torch.randn(2, CHANNELS, 16, 16) * scale).clamp(-most, most).to(dtype) for _ in range(2)]


def fused(gate, skip, signal):
    """The operator on what autocast would give it; a CPU takes it only without autocast."""
    values = [value.detach() for value in values_of(gate)]
    return _concatenate(signal, skip, values, [1, 2, 4], True, gate.config.removal == "hard", False)[0]


def under_autocast(path):
    def concatenate(gate, skip, signal):
        with torch.autocast("cpu", skip.dtype):
            return by_path(path, gate, skip, signal)

    return concatenate


PATHS = {"fused": fused, "recomputed": under_autocast("recomputed"), "reference": under_autocast("reference")}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_the_output_is_as_close_to_the_exact_one_as_the_tolerance_says(dtype, path):
    for scale in SCALES[:3]:
        gate = a_gate()
        skip, signal = inputs(scale, dtype)
        ours = PATHS[path](gate, skip, signal).detach()
        exact = reference(gate.double(), skip.double(), signal.double()).detach()
        assert ours.dtype == dtype
        assert (ours.double() - exact).norm() / exact.norm() < TOLERANCE[dtype]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("scale", SCALES)
def test_a_gate_gives_numbers_wherever_its_inputs_are_numbers(scale, dtype, path):
    """Vanilla's first convolution after the concatenation overflows at the two largest; a gate at none."""
    gate = a_gate()
    skip, signal = inputs(scale, dtype)
    assert PATHS[path](gate, skip, signal).isfinite().all()
    signal[0] = torch.finfo(torch.float16).max  # a context that the MLP's layers sum up beyond the range
    skip[1], signal[1] = 60000.0, -60000.0
    assert PATHS[path](gate, skip, signal).isfinite().all()


@pytest.mark.parametrize("path", ["recomputed", "reference"])
def test_where_vanillas_gradients_are_numbers_a_gates_are_too(path):
    torch.manual_seed(2)
    weight = torch.randn(16, 2 * CHANNELS, 3, 3) * (2 / (9 * 2 * CHANNELS)) ** 0.5
    seen = set()
    for scale in SCALES:
        gate = a_gate()
        skip, signal = (tensor.requires_grad_() for tensor in inputs(scale, torch.float16))

        def gradients(concatenation, given):
            with torch.autocast("cpu", torch.float16):
                out = F.instance_norm(F.conv2d(concatenation(), weight, padding=1))
            return torch.autograd.grad(out.float().square().mean() + out.float().mean(), given)

        vanilla = gradients(lambda: torch.cat((signal, skip), 1), [skip, signal])  # noqa: B023
        ours = gradients(lambda: PATHS[path](gate, skip, signal), [skip, signal, *gate.parameters()])  # noqa: B023
        finite = all(g.isfinite().all() for g in vanilla)
        seen.add(finite)
        if finite:
            assert all(g.isfinite().all() for g in ours)
    assert seen == {True, False}


def test_not_a_number_is_not_hidden():
    gate = a_gate()
    skip, signal = inputs(1.0, torch.float16)
    skip[0, 0, 3, 3] = float("nan")
    for path in PATHS.values():
        assert path(gate, skip, signal)[0, CHANNELS:].isnan().any()


def skipped_steps(network_class, scale):
    """Of 12 training steps as nnU-Net makes them, with a GradScaler that starts far too high."""
    network = build(network_class, 2).train()
    optimizer = torch.optim.SGD(network.parameters(), 1e-2, momentum=0.99, nesterov=True)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**32)
    skipped = []
    target = torch.randint(3, (2, 16, 16), generator=torch.Generator().manual_seed(4))
    for _ in range(12):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.float16):
            loss = F.cross_entropy(network(scale * image(2))[0].float(), target)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(network.parameters(), 12)
        before = scaler.get_scale()
        scaler.step(optimizer)
        scaler.update()
        skipped.append(scaler.get_scale() < before)
    return skipped


@pytest.mark.filterwarnings("ignore:.*torch.cpu.amp.*:FutureWarning")
def test_gradscaler_skips_the_steps_that_it_skips_of_vanilla():
    ours, vanilla = skipped_steps(ProSMAUNet, 1.0), skipped_steps(PlainConvUNet, 1.0)
    assert any(vanilla)
    assert ours == vanilla
