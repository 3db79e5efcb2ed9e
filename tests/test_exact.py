"""Every use of a gate that torch allows gives the same by all paths: what a fast one cannot do, the definition does."""

import warnings

import pytest
import torch
from gates import assert_equal, gate_and_inputs
from torch import nn
from torch.autograd import forward_ad
from torch.func import functional_call
from torch.nn.utils import parametrizations, parametrize, prune

from nnunet_prosma.fast.concatenation import PATHS, VARIABLE, gated_concatenation
from nnunet_prosma.gate import AttentionGate, GateConfig, ProSMAGate

SETTINGS = {
    "2D": (nn.Conv2d, (9, 7), 3, GateConfig(lam=0.3)),
    "3D, anisotropic": (nn.Conv3d, (4, 6, 5), (1, 3, 3), GateConfig(lam=0.3, removal="hard", channel=False)),
    "residual": (nn.Conv2d, (9, 7), 3, GateConfig(lam=0.3, residual=True)),
}


def taken_by_each_path(use, setting, monkeypatch):
    """What use(gate, skip, signal) gives, by each path, each time of a new gate with the same weights."""
    taken = {}
    for path in PATHS:
        monkeypatch.setenv(VARIABLE, path)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=f"{VARIABLE}=")  # that another path is taken
            taken[path] = [t.detach() for t in use(*gate_and_inputs(*SETTINGS[setting]))]
    return taken


def loss(gate, skip, signal):
    out = gated_concatenation(gate, skip, signal)
    weight = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).cos().view(out.shape)
    return (out * weight).square().sum()


def leaves(gate, skip, signal):
    return [skip, signal, *gate.parameters()]


def with_gradients(gate, skip, signal):
    """The output and all gradients; called thrice, so that what is counted or averaged from call to call is seen."""
    for _ in range(2):
        loss(gate, skip, signal)
    out = gated_concatenation(gate, skip, signal)
    return [out, *torch.autograd.grad(loss(gate, skip, signal), leaves(gate, skip, signal))]


def second_derivatives(gate, skip, signal):
    given = leaves(gate, skip, signal)
    first = torch.autograd.grad(loss(gate, skip, signal), given, create_graph=True)
    return [*first, *torch.autograd.grad(sum(g.square().sum() for g in first), given)]


def third_derivatives(gate, skip, signal):
    given, value = leaves(gate, skip, signal)[:4], loss(gate, skip, signal)
    for _ in range(2):
        value = sum(g.sin().sum() for g in torch.autograd.grad(value, given, create_graph=True))
    return torch.autograd.grad(value, given)


def second_derivatives_of_a_skip_that_the_signal_was_computed_from(gate, skip, signal):
    weight = torch.randn(10, 12, *[1] * (skip.ndim - 2), dtype=torch.float64, generator=torch.manual_seed(6))
    convolve = {4: nn.functional.conv2d, 5: nn.functional.conv3d}[skip.ndim]
    below = skip * 2
    value = loss(gate, below, signal * convolve(below, weight))
    first = torch.autograd.grad(value, [skip, signal], create_graph=True)
    return [*first, *torch.autograd.grad(sum(g.square().sum() for g in first), leaves(gate, skip, signal))]


def gradient_penalty_into_grad_attributes(gate, skip, signal):
    (grad,) = torch.autograd.grad(loss(gate, skip, signal), skip, create_graph=True)
    (grad.square().mean() + loss(gate, skip, signal)).backward()
    return [tensor.grad for tensor in leaves(gate, skip, signal)]


def batched_gradients(gate, skip, signal):
    out = gated_concatenation(gate, skip, signal)
    directions = torch.randn(3, *out.shape, dtype=out.dtype, generator=torch.manual_seed(7))
    return torch.autograd.grad(out, leaves(gate, skip, signal), directions, is_grads_batched=True)


def jvp(gate, skip, signal):
    """Where nothing requires a gradient, the tangent is all that there is to lose."""
    gate.requires_grad_(False)
    skip, signal = skip.detach(), signal.detach()
    return torch.func.jvp(
        lambda x, g: gated_concatenation(gate, x, g), (skip, signal), (skip.cos(), torch.ones_like(signal))
    )


def dual_numbers(gate, skip, signal):
    with forward_ad.dual_level():
        out = gated_concatenation(gate, forward_ad.make_dual(skip.detach(), skip.detach().cos()), signal)
        return list(forward_ad.unpack_dual(out))


def function_of_parameters(gate, skip, signal):
    given = {name: value.detach() for name, value in gate.named_parameters()}

    def whole(parameters, x, g):
        network = Network(gate)
        return functional_call(network, {f"gate.{n}": v for n, v in parameters.items()}, (x, g))

    grads = torch.func.grad(whole, argnums=(0, 1, 2))(given, skip.detach(), signal.detach())
    return [*grads[0].values(), *grads[1:]]


class Network(nn.Module):
    def __init__(self, gate):
        super().__init__()
        self.gate = gate

    def forward(self, skip, signal):
        return loss(self.gate, skip, signal)


def per_sample_gradients(gate, skip, signal):
    def one(x, g):
        return loss(gate, x[None], g[None])

    return torch.func.vmap(torch.func.grad(one, argnums=(0, 1)), randomness="error")(skip.detach(), signal.detach())


def mapped(gate, skip, signal):
    with torch.no_grad():
        return [torch.func.vmap(lambda x: gated_concatenation(gate, x, signal))(torch.stack([skip, 2 * skip]))]


def hessian_times_vector(gate, skip, signal):
    gradient = torch.func.grad(lambda x: loss(gate, x, signal.detach()))
    return torch.func.jvp(gradient, (skip.detach(),), (skip.detach().cos(),))


def hooked(register):
    def use(gate, skip, signal):
        seen = []
        register(gate, seen)
        given = with_gradients(gate, skip, signal)
        assert seen
        return [*given, *seen]

    return use


def every_kind_of_hook(gate, seen):
    gate.fuse.register_forward_hook(lambda module, inputs, out: seen.append(out) or out * 2)
    gate.branches[1].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]) or (inputs[0] + 1,))
    gate.psi.register_full_backward_hook(lambda module, into, out: seen.append(out[0]) or tuple(3 * g for g in into))


def a_hook_that_changes_gradients(gate, seen):
    gate.register_full_backward_hook(
        lambda module, into, out: seen.extend((*into, *out)) or tuple(g if g is None else 2 * g for g in into)
    )


def a_hook_before_the_gradients(gate, seen):
    gate.register_full_backward_pre_hook(lambda module, out: seen.append(out[0]) or (out[0] * 3,))


def a_global_hook(gate, skip, signal):
    seen = []
    handle = nn.modules.module.register_module_forward_hook(lambda module, inputs, out: seen.append(out))
    try:
        return [*with_gradients(gate, skip, signal), *seen]
    finally:
        handle.remove()


def changed(change):
    def use(gate, skip, signal):
        torch.manual_seed(9)
        change(gate)
        return with_gradients(gate.double(), skip, signal)

    return use


def set_(name, value):
    return lambda gate: setattr(gate, name, value(gate))


def _own_psi(gate):
    return type(gate.psi)(len(gate.theta), 1, 1, bias=False)


def _reflecting(gate):
    for branch in gate.branches:
        branch.padding_mode = "zeros" if branch is gate.branches[0] else "circular"
        branch._reversed_padding_repeated_twice = [p for p in reversed(branch.padding) for _ in range(2)]


def _dense(gate):
    """As wide as the depthwise ones, but each channel sees all."""
    for m, branch in enumerate(gate.branches):
        gate.branches[m] = type(branch)(
            8, 8, branch.kernel_size, 1, branch.padding, branch.dilation, groups=1, bias=False
        )


class Zeroed(ProSMAGate):
    def where(self, z):
        return super().where(z) ** 2


def _other_forward(gate):
    forward = gate.forward
    gate.forward = lambda skip, signal: 2 * forward(skip, signal)


CHANGES = {
    "norm": set_("norm", lambda gate: nn.Tanh()),
    "batch norm": set_("norm", lambda gate: (nn.BatchNorm2d, nn.BatchNorm3d)[len(gate.spatial_axes) - 2](8)),
    "psi without bias": set_("psi", _own_psi),
    "linear psi": lambda gate: setattr(gate.psi, "__class__", type("Mine", (type(gate.psi),), {})),
    "one threshold for all": set_("theta", lambda gate: nn.Parameter(torch.zeros(1))),
    "reflecting": _reflecting,
    "dilation": lambda gate: gate.branches.__setitem__(0, gate.branches[1]),
    "fewer branches": lambda gate: gate.branches.__setitem__(2, gate.branches[1]),
    "dense branches": _dense,
    "shared weights": lambda gate: setattr(gate.branches[1], "weight", gate.branches[0].weight),
    "sub-class": lambda gate: setattr(gate, "__class__", Zeroed),
    "forward": _other_forward,
    "weight_norm": lambda gate: nn.utils.weight_norm(gate.skip_proj),
    "spectral_norm": lambda gate: nn.utils.spectral_norm(gate.fuse),
    "prune": lambda gate: prune.random_unstructured(gate.branches[0], "weight", 0.4),
    "pruned for good": lambda gate: prune.remove(prune.l1_unstructured(gate.fuse, "weight", 0.5), "weight"),
    "parametrized weight_norm": lambda gate: parametrizations.weight_norm(gate.signal_proj),
    "parametrized spectral_norm": lambda gate: parametrizations.spectral_norm(gate.fuse),
    "parametrized threshold": lambda gate: parametrize.register_parametrization(gate, "theta", nn.Tanh()),
}
HOOKS = {
    "hooks on submodules": hooked(every_kind_of_hook),
    "full backward hook": hooked(a_hook_that_changes_gradients),
    "full backward pre-hook": hooked(a_hook_before_the_gradients),
    "global hook": a_global_hook,
}
DERIVATIVES = [
    *(with_gradients, second_derivatives, third_derivatives),
    *(second_derivatives_of_a_skip_that_the_signal_was_computed_from, gradient_penalty_into_grad_attributes),
    *(batched_gradients, jvp, dual_numbers, function_of_parameters, per_sample_gradients, mapped, hessian_times_vector),
]
USES = {
    **{use.__name__.replace("_", " "): use for use in DERIVATIVES},
    **HOOKS,
    **{name: changed(change) for name, change in CHANGES.items()},
}


@pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated:FutureWarning")
@pytest.mark.filterwarnings("ignore:Full backward hook is firing when gradients are computed:UserWarning")
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")  # torch's own, for forward mode
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("name", USES)
def test_every_use_gives_the_same_by_all_paths(name, setting, monkeypatch):
    taken = taken_by_each_path(USES[name], setting, monkeypatch)
    assert len(taken["reference"]) > 0
    for path in ("fused", "recomputed"):
        assert_equal(taken[path], taken["reference"], 0, 1e-11)


def replicas(network, monkeypatch):
    """What DataParallel runs; on a CPU, where torch has none, its own replicate() is given copies of its weights."""
    from torch.nn.parallel import replicate as module

    replicate = __import__("importlib").import_module("torch.nn.parallel.replicate")
    monkeypatch.setattr(replicate, "_get_device_index", lambda device, optional: device)
    monkeypatch.setattr(
        replicate,
        "_broadcast_coalesced_reshape",
        lambda tensors, devices, detach=False: [[tensor * 1 for tensor in tensors] for _ in devices],
    )
    return module(network, [0, 1])


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.filterwarnings(f"ignore:{VARIABLE}=")
def test_replicas_of_data_parallel_train_the_network_that_they_are_of(path, monkeypatch):
    gate, skip, signal = gate_and_inputs(nn.Conv2d, (9, 7), 3, GateConfig(lam=0.3))
    expected = torch.autograd.grad(loss(gate, skip, signal), leaves(gate, skip, signal))
    monkeypatch.setenv(VARIABLE, path)
    for replica in replicas(gate, monkeypatch):
        assert not list(replica.parameters())
        assert_equal(torch.autograd.grad(loss(replica, skip, signal), leaves(gate, skip, signal)), expected, 0, 1e-12)


@pytest.mark.parametrize("path", PATHS)
def test_the_dense_gate_has_second_derivatives_too(path, monkeypatch):
    _, skip, signal = gate_and_inputs(nn.Conv2d, (9, 7), 3, GateConfig())
    gate = AttentionGate(nn.Conv2d, 12, 10).double()
    monkeypatch.setenv(VARIABLE, "reference")
    expected = second_derivatives(gate, skip, signal)
    monkeypatch.setenv(VARIABLE, path)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=f"{VARIABLE}=")
        assert_equal(second_derivatives(gate, skip, signal), expected, 0, 1e-11)


@pytest.mark.parametrize("path", PATHS)
def test_second_derivatives_pass_gradgradcheck(path, monkeypatch):
    monkeypatch.setenv(VARIABLE, path)
    gate, skip, signal = gate_and_inputs(nn.Conv2d, (3, 4), 3, GateConfig(lam=0.05), samples=1)
    assert torch.autograd.gradgradcheck(lambda x, g: gated_concatenation(gate, x, g), (skip, signal), fast_mode=True)


@pytest.mark.filterwarnings(f"ignore:{VARIABLE}=")
def test_a_signal_of_another_size_is_the_definitions_error(monkeypatch):
    gate, skip, signal = gate_and_inputs(nn.Conv2d, (8, 6), 3, GateConfig())
    for path in PATHS:
        monkeypatch.setenv(VARIABLE, path)
        with pytest.raises(RuntimeError, match="Sizes of tensors must match except in dimension 1"):
            gated_concatenation(gate, skip, signal[:1])
