import inspect
import pickle
from copy import deepcopy

import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from networks import build
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.training.nnUNetTrainer.primus.primus_trainers import nnUNet_Primus_S_Trainer
from nnunetv2.training.nnUNetTrainer.variants.data_augmentation.nnUNetTrainerDA5 import nnUNetTrainerDA5
from nnunetv2.training.nnUNetTrainer.variants.lr_schedule.nnUNetTrainer_warmup import nnUNetTrainer_warmup
from nnunetv2.training.nnUNetTrainer.variants.lr_schedule.nnUNetTrainerCosAnneal import nnUNetTrainerCosAnneal
from nnunetv2.training.nnUNetTrainer.variants.network_architecture.nnUNetTrainerBN import nnUNetTrainerBN
from nnunetv2.training.nnUNetTrainer.variants.optimizer.nnUNetTrainerAdam import (
    nnUNetTrainerAdam,
    nnUNetTrainerAdam3en4,
)
from nnunetv2.training.nnUNetTrainer.variants.training_length import nnUNetTrainer_Xepochs
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch.optim.lr_scheduler import LambdaLR, LinearLR, SequentialLR

import nnunet_prosma.trainers as trainers
from nnunet_prosma.architectures import ProSMAUNet
from nnunet_prosma.decoder import gates_of
from nnunet_prosma.gate import AttentionGate, GateConfig, ProSMAGate
from nnunet_prosma.trainers import ProSMATrainerMixin, nnUNetTrainerAttentionGate, nnUNetTrainerProSMA


class nnUNetTrainerProSMADA5(ProSMATrainerMixin, nnUNetTrainerDA5):
    pass


class nnUNetTrainerProSMAAdam(ProSMATrainerMixin, nnUNetTrainerAdam):
    pass


LENGTHS = {"1epoch": 1} | {f"{n}epochs": n for n in (5, 10, 20, 50, 100, 250, 500, 750, 2000, 4000, 8000)}
PLAIN = "dynamic_network_architectures.architectures.unet.PlainConvUNet"


def plans_dict(network_class=PLAIN, **gate):
    architecture = {
        "network_class_name": network_class,
        "arch_kwargs": {
            "n_stages": 3,
            "features_per_stage": [8, 16, 16],
            "conv_op": "torch.nn.modules.conv.Conv2d",
            "kernel_sizes": [[3, 3]] * 3,
            "strides": [[1, 1], [2, 2], [2, 2]],
            "n_conv_per_stage": [1, 1, 1],
            "n_conv_per_stage_decoder": [1, 1],
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm2d",
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
            **gate,
        },
        "_kw_requires_import": ["conv_op", "norm_op", "nonlin"],
    }
    return {"configurations": {"2d": {"architecture": architecture, "patch_size": [16, 16]}}}


def network_of(trainer, plans=None):
    plans = plans or plans_dict()
    manager = PlansManager(plans)
    return trainer.build_network_architecture(manager, manager.get_configuration("2d"), 1, 2, True)


def optimised(trainer_class, network):
    """A trainer without a data set: what configure_optimizers needs and nothing more."""
    trainer = trainer_class.__new__(trainer_class)
    trainer.network = network
    trainer.__dict__.update(
        initial_lr=1e-2, weight_decay=3e-5, num_epochs=10, current_epoch=0, device=torch.device("cpu")
    )
    trainer.__dict__.update(print_to_log_file=lambda *_: None, warmup_duration_whole_net=3, training_stage=None)
    return trainer, *trainer.configure_optimizers()


@pytest.mark.parametrize("family", ["nnUNetTrainerProSMA", "nnUNetTrainerAttentionGate"])
@pytest.mark.parametrize("length", LENGTHS)
def test_each_gated_trainer_has_the_training_lengths_that_nnunet_has(family, length):
    trainer = getattr(trainers, f"{family}_{length}")
    assert issubclass(trainer, getattr(trainers, family))
    assert issubclass(trainer, getattr(nnUNetTrainer_Xepochs, f"nnUNetTrainer_{length}"))
    instance = trainer.__new__(trainer)
    bases = nnUNetTrainer.__init__
    try:
        nnUNetTrainer.__init__ = lambda self, *_: None
        trainer.__init__(instance, {}, "2d", 0, {}, torch.device("cpu"))
    finally:
        nnUNetTrainer.__init__ = bases
    assert instance.num_epochs == LENGTHS[length]


def test_no_length_of_nnunets_is_missing():
    hosts = [name for name in vars(nnUNetTrainer_Xepochs) if name.startswith("nnUNetTrainer_")]
    assert sorted(name.removeprefix("nnUNetTrainer_") for name in hosts) == sorted(LENGTHS)


@pytest.mark.parametrize("name", trainers.__all__[1:])
def test_nnunet_finds_each_trainer_twice_as_the_same_class_and_it_pickles(name, capsys):
    first, second = (recursive_find_trainer_class_by_name(name) for _ in range(2))
    assert first is second is getattr(trainers, name)
    assert pickle.loads(pickle.dumps(first)) is first


@pytest.mark.parametrize("twin", ["5epochs", "5epochs_noDataLoading"])
def test_nnunets_benchmarks_have_gated_twins(twin):
    trainer = getattr(trainers, f"nnUNetTrainerProSMABenchmark_{twin}")
    assert [base.__name__ for base in trainer.__bases__] == ["nnUNetTrainerProSMA", f"nnUNetTrainerBenchmark_{twin}"]


def test_every_trainer_keeps_the_signature_whose_parameters_nnunet_reads():
    for name in trainers.__all__[1:]:
        parameters = inspect.signature(getattr(trainers, name).__init__).parameters
        assert list(parameters) == ["self", "plans", "configuration", "fold", "dataset_json", "device"]


@pytest.mark.parametrize(
    ("trainer", "settings"),
    [
        (trainers.nnUNetTrainerProSMA, {}),
        (trainers.nnUNetTrainerProSMA_spatialOnly, {"channel": False}),
        (trainers.nnUNetTrainerProSMA_channelOnly, {"spatial": False}),
        (trainers.nnUNetTrainerProSMA_hardRemoval, {"removal": "hard"}),
        (trainers.nnUNetTrainerAttentionGate, {"kind": "attention"}),
        (nnUNetTrainerProSMADA5, {}),
    ],
)
def test_each_trainer_sets_the_gate_it_is_named_after(trainer, settings):
    gates = [gate for _, gate in gates_of(network_of(trainer))]
    assert [gate.config for gate in gates] == [GateConfig(**settings)] * 2
    assert all(type(gate) is (AttentionGate if settings.get("kind") == "attention" else ProSMAGate) for gate in gates)


def test_the_plans_settings_hold_and_the_trainers_switch_goes_on_top():
    plans = plans_dict(gate={"lam": 0.1, "removal": "hard"})
    config = next(gates_of(network_of(trainers.nnUNetTrainerProSMA_spatialOnly, plans)))[1].config
    assert config == GateConfig(lam=0.1, removal="hard", channel=False)


def test_building_leaves_the_plans_and_their_managers_as_they_were():
    plans = plans_dict(gate={"lam": 0.1})
    before = deepcopy(plans)
    manager = PlansManager(plans)
    configuration = manager.get_configuration("2d")
    nnUNetTrainerProSMA.build_network_architecture(manager, configuration, 1, 2, True)
    assert plans == before
    assert configuration.configuration == before["configurations"]["2d"]


def test_the_mixin_joins_a_trainer_that_changes_the_network():
    class nnUNetTrainerProSMABN(ProSMATrainerMixin, nnUNetTrainerBN):
        pass

    network = network_of(nnUNetTrainerProSMABN)
    assert isinstance(network, ProSMAUNet)
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())


def test_an_architecture_without_skips_is_an_error_at_construction():
    with pytest.raises(ValueError, match=r"network 'a\.B': gates sit on the skips of PlainConvUNet, ResidualEnc"):
        network_of(nnUNetTrainerProSMA, plans_dict("a.B"))


def test_a_trainer_that_builds_its_own_network_is_an_error_at_construction():
    class nnUNetTrainerProSMAPrimus(ProSMATrainerMixin, nnUNet_Primus_S_Trainer):
        pass

    plans = PlansManager(
        {"configurations": {"3d_fullres": plans_dict()["configurations"]["2d"] | {"patch_size": [16] * 3}}}
    )
    with pytest.raises(ValueError, match="nnUNetTrainerProSMAPrimus: its nnU-Net trainer builds a Primus of its own"):
        nnUNetTrainerProSMAPrimus.build_network_architecture(plans, plans.get_configuration("3d_fullres"), 1, 2, False)


def test_a_setting_that_cannot_be_meant_is_an_error_at_construction():
    with pytest.raises(ValueError, match="lam must be a finite number above 0, got -1"):
        network_of(nnUNetTrainerProSMA, plans_dict(gate={"lam": -1}))


@pytest.mark.parametrize(
    "host", [nnUNetTrainer, nnUNetTrainerDA5, nnUNetTrainerAdam, nnUNetTrainerAdam3en4, nnUNetTrainerCosAnneal]
)
def test_thresholds_never_decay_and_share_the_learning_rate(host):
    trainer_class = type("Gated", (ProSMATrainerMixin, host), {})
    network = network_of(trainer_class)
    _, optimizer, scheduler = optimised(trainer_class, network)
    thresholds = {gate.theta for _, gate in gates_of(network)}
    weights, kept = optimizer.param_groups
    assert set(kept["params"]) == thresholds
    assert set(weights["params"]) == set(network.parameters()) - thresholds
    assert (weights["weight_decay"], kept["weight_decay"]) == (3e-5, 0)
    assert {k: v for k, v in weights.items() if k not in ("params", "weight_decay")} == {
        k: v for k, v in kept.items() if k not in ("params", "weight_decay")
    }
    rates = set()
    for epoch in range(5):  # as nnU-Net's on_train_epoch_start
        optimizer.step()
        scheduler.step(epoch) if host is not nnUNetTrainerCosAnneal else scheduler.step()
        assert weights["lr"] == kept["lr"]
        rates.add(weights["lr"])
    assert len(rates) == 5


@pytest.mark.filterwarnings(
    "ignore:The epoch parameter in `scheduler.step:UserWarning"
)  # torch 2.4's SequentialLR's own
@pytest.mark.parametrize("schedule", ["lambda", "sequence"])
def test_torchs_schedulers_that_keep_a_list_a_group_get_an_entry_more(schedule):
    class host(nnUNetTrainer):
        def configure_optimizers(self):
            optimizer = torch.optim.SGD(self.network.parameters(), self.initial_lr, weight_decay=self.weight_decay)
            parts = [LinearLR(optimizer, 0.1, 1.0, 2), LambdaLR(optimizer, lambda epoch: 0.5**epoch)]
            return optimizer, parts[1] if schedule == "lambda" else SequentialLR(optimizer, parts, [2])

    trainer_class = type("Gated", (ProSMATrainerMixin, host), {})
    _, optimizer, scheduler = optimised(trainer_class, network_of(trainer_class))
    for _ in range(5):
        optimizer.step()
        scheduler.step()
        assert len({group["lr"] for group in optimizer.param_groups}) == 1


def test_a_trainer_that_configures_its_optimizer_again_keeps_the_groups():
    trainer_class = type("Gated", (ProSMATrainerMixin, nnUNetTrainer_warmup), {})
    trainer, optimizer, scheduler = optimised(trainer_class, network_of(trainer_class))
    trainer.optimizer, trainer.lr_scheduler = optimizer, scheduler
    again, _ = trainer.configure_optimizers("train")
    assert again is optimizer
    assert [group["weight_decay"] for group in again.param_groups] == [3e-5, 0]


def test_gates_that_learn_faster_keep_their_groups_when_the_optimizer_is_configured_again():
    """A group more after the warm-up, and no checkpoint of later could be loaded into the trainer of the start."""
    trainer_class = type("Gated", (ProSMATrainerMixin, nnUNetTrainer_warmup), {"gate_lr_factor": 3})
    trainer, optimizer, scheduler = optimised(trainer_class, network_of(trainer_class))
    before, faster = [len(group["params"]) for group in optimizer.param_groups], dict(trainer._faster)
    trainer.optimizer, trainer.lr_scheduler = optimizer, scheduler
    trainer.configure_optimizers("train")
    assert [len(group["params"]) for group in optimizer.param_groups] == before
    assert trainer._faster == faster


def test_weight_decay_alone_moves_no_threshold():
    network = network_of(nnUNetTrainerProSMA, plans_dict(gate={"lam": 0.01}))
    before = [gate.lam.clone() for _, gate in gates_of(network)]
    _, optimizer, _ = optimised(nnUNetTrainerProSMA, network)
    for _ in range(50):
        for parameter in network.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
    assert all(torch.equal(gate.lam, lam) for (_, gate), lam in zip(gates_of(network), before, strict=True))


def test_a_dense_gate_has_no_threshold_and_one_group():
    _, optimizer, _ = optimised(nnUNetTrainerAttentionGate, network_of(nnUNetTrainerAttentionGate))
    assert len(optimizer.param_groups) == 1


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:200]), "cannot load the checkpoint .*final.pth: "),
        (lambda path: path.write_bytes(b""), "cannot load the checkpoint .*final.pth: "),
        (lambda path: None, "cannot load the checkpoint .*final.pth: a ProSMAUNet needs a checkpoint with gates"),
    ],
    ids=["cut short", "empty", "vanilla"],
)
def test_a_checkpoint_that_cannot_be_used_is_named(tmp_path, damage, message):
    path = tmp_path / "checkpoint_final.pth"
    state = {
        "network_weights": build(PlainConvUNet, 2).state_dict(),
        "inference_allowed_mirroring_axes": (0, 1),
        "init_args": {},
        "current_epoch": 1,
    }
    torch.save(state | {"logging": {}, "_best_ema": 0, "optimizer_state": {}, "grad_scaler_state": None}, path)
    damage(path)
    trainer = nnUNetTrainerProSMA.__new__(nnUNetTrainerProSMA)
    trainer.__dict__.update(
        was_initialized=True, device=torch.device("cpu"), network=build(ProSMAUNet, 2), is_ddp=False
    )
    trainer.logger = type("Logger", (), {"load_checkpoint": lambda *_: None})()
    with pytest.raises(RuntimeError, match=message):
        trainer.load_checkpoint(str(path))


@pytest.mark.parametrize(("device", "logged"), [("cuda", ["Peak memory: 1.50 GiB"]), ("cpu", [])])
def test_on_a_gpu_the_log_ends_with_the_peak_memory(monkeypatch, device, logged):
    class Host:
        def on_train_end(self):
            self.device = torch.device(device)
            self.log = []

        def print_to_log_file(self, line, **_):
            self.log.append(line)

    class Trainer(ProSMATrainerMixin, Host):
        pass

    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 3 * 2**29)
    trainer = Trainer()
    trainer.on_train_end()
    assert trainer.log == logged
