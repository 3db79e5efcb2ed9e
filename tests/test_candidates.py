"""How a gate may start and where it may sit: residual, start and stages, and plain skips."""

import math

import pytest
import torch
from networks import TWINS, both_dimensions, build, every_network, image
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from torch import nn

from nnunet_prosma import trainers
from nnunet_prosma.architectures import ProSMAUNet, PUNet
from nnunet_prosma.decoder import describe_gates, gates_of
from nnunet_prosma.fast.concatenation import gated_concatenation
from nnunet_prosma.gate import GateConfig, ProSMAGate

CANDIDATES = {
    "_residual": {"residual": True},
    "_open": {"start": "open"},
    "_coarse2": {"stages": 2},
    "_coarse3": {"stages": 3},
}


@every_network
@both_dimensions
def test_a_residual_network_starts_as_the_one_without_gates_bit_by_bit(gated, vanilla, dimensions):
    network, plain = build(gated, dimensions, gate={"residual": True}), build(vanilla, dimensions)
    plain.load_state_dict({key: value for key, value in network.state_dict().items() if ".gates." not in key})
    for ours, theirs in zip(network(image(dimensions)), plain(image(dimensions)), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("settings", [{}, {"channel": False}, {"spatial": False}], ids=["both", "psi", "c"])
def test_a_residual_gate_lets_in_a_share_alpha_of_what_the_plain_one_does(settings):
    """By the definition x (1 + alpha (c psi - 1)), values and the gradient of alpha."""
    torch.manual_seed(2)
    gate = ProSMAGate(nn.Conv2d, 6, 6, 3, GateConfig(residual=True, **settings)).double()
    skip, signal = torch.randn(2, 2, 6, 8, 8, dtype=torch.float64)
    plain = ProSMAGate(nn.Conv2d, 6, 6, 3, GateConfig(**settings)).double()
    plain.load_state_dict({key: value for key, value in gate.state_dict().items() if key != "alpha"})
    factor = plain(skip, signal) / skip
    gate.alpha.data.fill_(0.3)
    out = gate(skip, signal)
    torch.testing.assert_close(out, skip * (1 + 0.3 * (factor - 1)))
    (slope,) = torch.autograd.grad(out.sum(), gate.alpha)
    torch.testing.assert_close(slope, (skip * (factor - 1)).sum())


@pytest.mark.parametrize("path", ["reference", "recomputed", "fused"])
def test_a_residual_gate_is_the_same_by_every_path(path, monkeypatch):
    torch.manual_seed(2)
    gate = ProSMAGate(nn.Conv2d, 6, 6, 3, GateConfig(residual=True)).double()
    gate.alpha.data.fill_(-0.4)
    skip, signal = (torch.randn(2, 6, 8, 8, dtype=torch.float64, requires_grad=True) for _ in range(2))
    weights = [skip, signal, *gate.parameters()]
    expected = torch.cat((signal, gate(skip, signal)), 1)
    gradients = torch.autograd.grad(expected.square().sum(), weights)
    monkeypatch.setenv("NNUNET_PROSMA_PATH", path)
    out = gated_concatenation(gate, skip, signal)
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(torch.autograd.grad(out.square().sum(), weights), gradients)


@both_dimensions
@pytest.mark.parametrize("network", [TWINS[0][0], TWINS[1][0], PUNet], ids=lambda n: n.__name__)
@pytest.mark.parametrize(("start", "open_by"), [("half", 0.5), ("open", 0.9)])
def test_how_open_a_gate_is_at_the_start(network, dimensions, start, open_by):
    """Where z is zero and the context is, psi and c are the sigmoid of their biases."""
    settings = {"gate": {"start": start}}
    if network is PUNet:
        built = PUNet(2, 3, {2: nn.Conv2d, 3: nn.Conv3d}[dimensions], features_per_stage=[8] * 5, **settings)
        built.apply(built.initialize)
    else:
        built = build(network, dimensions, **settings)
    for _, gate in gates_of(built):
        size = [4] * dimensions
        fields = gate.fields(
            torch.zeros(1, gate.skip_proj.in_channels, *size), torch.zeros(1, gate.mlp[0].in_channels, *size)
        )
        torch.testing.assert_close(fields.psi, torch.full_like(fields.psi, open_by))
        torch.testing.assert_close(fields.c, torch.full_like(fields.c, open_by))
        if start == "open":
            noise = torch.randn(1, gate.skip_proj.in_channels, *size)
            assert float((gate.fields(noise, noise).psi.detach() - 0.9).abs().max()) < 1e-4


@both_dimensions
@pytest.mark.parametrize(("stages", "gated"), [(1, [0]), (2, [0, 1]), (9, [0, 1]), ("all", [0, 1])])
def test_stages_is_the_number_of_coarsest_skips_with_a_gate(dimensions, stages, gated):
    network = build(ProSMAUNet, dimensions, gate={"stages": stages})
    assert [name for name, _ in gates_of(network)] == [f"decoder.gates.{s}" for s in gated]
    full = build(ProSMAUNet, dimensions)
    lost = set(full.state_dict()) - set(network.state_dict())
    assert lost == {key for key in full.state_dict() if key.startswith("decoder.gates.1.") and 1 not in gated}
    assert f"Gates on {len(gated)}{' of 2' if len(gated) < 2 else ''} skips" in describe_gates(network)
    size = [8, 16, 16][-dimensions:]
    plain = build(ProSMAUNet, dimensions, gate="none").compute_conv_feature_map_size(size)
    latent = [2 * math.prod(size) // 4, 8 * math.prod(size)]  # 8 channels at half the size in plane, and at the whole
    counted = sum([8 * math.prod(size) // 4, latent[1]][s] for s in gated) // 2
    assert network.compute_conv_feature_map_size(size) - plain == counted


@both_dimensions
def test_a_plain_skip_is_the_vanilla_network(dimensions):
    for gated, vanilla in TWINS:
        network, plain = build(gated, dimensions, gate={"kind": "none"}), build(vanilla, dimensions)
        plain.load_state_dict(network.state_dict())
        assert list(plain.state_dict()) == list(network.state_dict())
        assert torch.equal(network(image(dimensions))[0], plain(image(dimensions))[0])


@pytest.mark.parametrize(("name", "settings"), CANDIDATES.items())
def test_each_candidate_has_a_trainer(name, settings):
    trainer = getattr(trainers, f"nnUNetTrainerProSMA{name}")
    configuration = {"architecture": {"arch_kwargs": {"gate": {"lam": 0.1}}}}
    assert trainer.gates_to_train(configuration) == GateConfig(lam=0.1, **settings)


def optimised(trainer_class, network):
    """As nnU-Net sets it up: one group of SGD, and its schedule."""

    class Host:
        def configure_optimizers(self):
            optimizer = torch.optim.SGD(self.network.parameters(), 0.01, weight_decay=3e-5, momentum=0.99)
            return optimizer, PolyLRScheduler(optimizer, 0.01, 1000)

        def on_train_epoch_start(self):
            self.lr_scheduler.step(500)

    made = type("Made", (trainers.ProSMATrainerMixin, Host), {"gate_lr_factor": trainer_class.gate_lr_factor})()
    made.network = network
    made.optimizer, made.lr_scheduler = made.configure_optimizers()
    return made


def test_neither_thresholds_nor_alphas_decay():
    network = build(ProSMAUNet, 2, gate={"residual": True})
    made = optimised(trainers.nnUNetTrainerProSMA_residual, network)
    free = {p for group in made.optimizer.param_groups if not group["weight_decay"] for p in group["params"]}
    assert free == {p for name, p in network.named_parameters() if name.endswith((".theta", ".alpha"))}
    assert sum(len(group["params"]) for group in made.optimizer.param_groups) == len(list(network.parameters()))


def test_gates_may_learn_at_a_rate_of_their_own():
    network = build(ProSMAUNet, 2, gate={"start": "open"})
    made = optimised(type("Fast", (trainers.nnUNetTrainerProSMA_open,), {"gate_lr_factor": 3}), network)
    for _ in range(2):  # the schedule starts each epoch from its own rate
        made.on_train_epoch_start()
    rates = {p: group["lr"] for group in made.optimizer.param_groups for p in group["params"]}
    plain = 0.01 * 0.5**0.9
    for name, parameter in network.named_parameters():
        assert rates[parameter] == pytest.approx(plain * (3 if ".gates." in name else 1))


@pytest.mark.parametrize("scheduler", [torch.optim.lr_scheduler.CyclicLR, torch.optim.lr_scheduler.OneCycleLR])
def test_torchs_schedulers_with_a_list_for_each_group_know_the_new_one(scheduler):
    network = build(ProSMAUNet, 2)
    settings = {"CyclicLR": {"base_lr": 0.01, "max_lr": 0.1}, "OneCycleLR": {"max_lr": 0.1, "total_steps": 9}}

    class Host:
        network: nn.Module

        def configure_optimizers(self):
            optimizer = torch.optim.SGD(self.network.parameters(), 0.01, weight_decay=3e-5, momentum=0.9)
            return optimizer, scheduler(optimizer, **settings[scheduler.__name__])

    made = type("Made", (trainers.ProSMATrainerMixin, Host), {})()
    made.network = network
    optimizer, schedule = made.configure_optimizers()
    for _ in range(4):
        optimizer.step()
        schedule.step()
        first, second = ({k: g[k] for k in ("lr", "momentum")} for g in optimizer.param_groups)
        assert first == second


def test_plans_without_gates_and_a_trainer_with_gates_contradict_each_other():
    for gate in ("none", {"kind": "none"}):
        configuration = {"architecture": {"arch_kwargs": {"gate": gate}}}
        with pytest.raises(ValueError, match=r'plans ask for plain skips .gate "none"., and nnUNetTrainerProSMA sets'):
            trainers.nnUNetTrainerProSMA.gates_to_train(configuration)
        assert trainers.nnUNetTrainerPUNet_noGate.gates_to_train(configuration).kind == "none"
