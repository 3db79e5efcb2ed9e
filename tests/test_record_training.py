"""The record in a trainer, which trains with it as without. After a kill: test_resume.py, by nnU-Net's command."""

import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from networks import build, image

from nnunet_prosma.architectures import ProSMAUNet
from nnunet_prosma.trainers import ProSMATrainerMixin, nnUNetTrainerProSMA_1epoch
from nnunet_prosma.trainers import nnUNetTrainerProSMABenchmark_5epochs as Benchmark
from nnunet_prosma.watch.record import (
    FILE,
    STATISTICS,
    read,
)

BATCH = image(2)


class Host:
    """As much of nnU-Net's trainer as the record has to do with."""

    def __init__(self, folder, network, local_rank=0):
        self.output_folder, self.network, self.local_rank = str(folder), network, local_rank
        self.device, self.current_epoch, self.said = torch.device("cpu"), 0, []
        self.logger = type("Logger", (), {"loggers": []})()

    def print_to_log_file(self, *words, **_):
        self.said.append(" ".join(map(str, words)))

    def on_train_start(self):
        pass

    def validation_step(self, batch):
        return {"loss": 1.0}

    def on_validation_epoch_end(self, outputs):
        pass

    def on_epoch_end(self):
        self.current_epoch += 1


class Trainer(ProSMATrainerMixin, Host):
    pass


def epochs(trainer, number):
    for _ in range(number):
        trainer.network.eval()
        assert trainer.validation_step({"data": BATCH, "target": None}) == {"loss": 1.0}
        trainer.on_validation_epoch_end([])
        trainer.on_epoch_end()


def test_an_epoch_is_a_row_a_gate_and_a_training_is_as_without(tmp_path):
    network = build(ProSMAUNet, 2)
    weights = {key: value.clone() for key, value in network.state_dict().items()}
    chance = torch.get_rng_state()
    trainer = Trainer(tmp_path, network)
    trainer.on_train_start()
    epochs(trainer, 2)
    rows = read(tmp_path / FILE).rows
    assert [(r.epoch, r.gate, r.stride) for r in rows] == [(0, 0, "2x2"), (0, 1, "1x1"), (1, 0, "2x2"), (1, 1, "1x1")]
    assert (tmp_path / "gates.png").stat().st_size > 10_000
    assert trainer.said == []
    assert torch.equal(torch.get_rng_state(), chance)
    assert all(torch.equal(value, weights[key]) for key, value in network.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())
    assert all(p.grad is None for p in network.parameters())
    assert trainer._gate_batch is None  # no batch is held through the next epoch's training


def test_another_process_than_the_first_records_nothing(tmp_path):
    trainer = Trainer(tmp_path, build(ProSMAUNet, 2), local_rank=1)
    trainer.on_train_start()
    epochs(trainer, 1)
    assert list(tmp_path.iterdir()) == []


def test_the_record_can_be_left_out_and_benchmarks_do(tmp_path):
    trainer = type("Plain", (Trainer,), {"record_gates": False})(tmp_path, build(ProSMAUNet, 2))
    trainer.on_train_start()
    epochs(trainer, 1)
    assert list(tmp_path.iterdir()) == []
    assert not Benchmark.record_gates
    assert nnUNetTrainerProSMA_1epoch.record_gates


def test_weights_and_biases_gets_what_the_file_gets(tmp_path):
    class Wandb:
        got = {}

        def log(self, key, value, step):
            self.got[key, step] = value

    trainer = Trainer(tmp_path, build(ProSMAUNet, 2))
    trainer.logger.loggers.append(Wandb())
    trainer.on_train_start()
    epochs(trainer, 2)
    expected = {(f"{r.name}/{n}", r.epoch): v for r in read(tmp_path / FILE).rows for n, v in r.values.items()}
    assert Wandb.got == pytest.approx(expected, rel=1e-5)
    assert len(expected) == 2 * 2 * len({*STATISTICS, "psi_low", "psi_high"})


def test_a_record_that_cannot_be_written_is_told_once_and_stops_nothing(tmp_path):
    trainer = Trainer(tmp_path, build(ProSMAUNet, 2))
    (tmp_path / FILE).mkdir()  # a folder in the file's place
    (tmp_path / "gates.png").mkdir()
    trainer.on_train_start()
    epochs(trainer, 3)
    assert len(trainer.said) == 2
    assert "the record of the gates could not be kept (IsADirectoryError: " in trainer.said[0]
    assert "the record of the gates could not be drawn (IsADirectoryError: " in trainer.said[1]
    (tmp_path / FILE).rmdir()  # and once it can be written, nothing of it is missing
    epochs(trainer, 1)
    assert [r.epoch for r in read(tmp_path / FILE).rows] == [0, 0, 1, 1, 2, 2, 3, 3]


def test_a_record_that_could_not_be_taken_up_is_not_begun_anew(tmp_path, monkeypatch):
    epochs(Trainer(tmp_path, build(ProSMAUNet, 2)), 3)
    resumed = Trainer(tmp_path, build(ProSMAUNet, 2))
    resumed.current_epoch = 3

    def stale(*_):
        raise OSError("stale file handle")

    with monkeypatch.context() as patched:
        patched.setattr("nnunet_prosma.trainers.recording.resumed_record", stale)
        resumed.on_train_start()
        epochs(resumed, 1)  # still not, and nothing is written over it
    assert [r.epoch for r in read(tmp_path / FILE).rows] == [0, 0, 1, 1, 2, 2]
    epochs(resumed, 1)
    assert [r.epoch for r in read(tmp_path / FILE).rows] == [0, 0, 1, 1, 2, 2, 4, 4]


def test_a_trainers_log_says_which_gate_is_dead(tmp_path):
    network = build(ProSMAUNet, 2)
    with torch.no_grad():
        network.decoder.gates[1].theta.fill_(1e4)
    trainer = Trainer(tmp_path, network)
    trainer.on_train_start()
    epochs(trainer, 6)
    (sentence,) = trainer.said
    assert sentence.startswith("WARNING: gates.1 (stride 1x1) is dead: ")
    assert "(100 % of its z are exact zeros; median threshold 1e+04)" in sentence


def test_a_network_that_cannot_be_looked_into_stops_nothing(tmp_path):
    trainer = Trainer(tmp_path, build(PlainConvUNet, 2))
    trainer.on_train_start()
    epochs(trainer, 2)
    assert len(trainer.said) == 1
    assert "could not be kept (AttributeError: " in trainer.said[0]
