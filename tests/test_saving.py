"""Checkpoints written whole and in time: nnU-Net's own loop and saving, around a network of one weight."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest
import torch
from nnunetv2.training.logging.nnunet_logger import LocalLogger
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import nn

from nnunet_prosma.host import saving
from nnunet_prosma.host.checkpoints import read_checkpoint
from nnunet_prosma.host.marks import mark, validated_checkpoint
from nnunet_prosma.host.progress import progress_of
from nnunet_prosma.host.saving import STOPPED, Saver, put_on

SIGNALS = [pytest.param(name, id=name) for name in ("SIGUSR1", "SIGTERM")]


class Clock:
    """Goes on by a second at each training step."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def trainer(folder, saver, clock, plan=lambda trainer: None, epochs=4):
    """nnU-Net's trainer, its run_training and save_checkpoint; only data, network and log are pretended."""

    class OneWeight(nnUNetTrainer):
        def __init__(self):
            self.local_rank, self.is_ddp, self.disable_checkpointing = 0, False, False
            self.device = torch.device("cpu")
            self.network = nn.Linear(1, 1, bias=False)
            nn.init.zeros_(self.network.weight)
            self.optimizer, self.grad_scaler = torch.optim.SGD(self.network.parameters(), 1.0), None
            self.logger, self._best_ema, self.inference_allowed_mirroring_axes = _Logger(), None, None
            self.my_init_kwargs, self.output_folder = {}, str(folder)
            self.num_epochs, self.current_epoch, self.save_every = epochs, 0, 50
            self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = 3, 1
            self.dataloader_train = self.dataloader_val = iter(lambda: {}, None)
            self.was_initialized, self.said, self.trained = True, [], []

        def print_to_log_file(self, *words, **settings):
            self.said.append(" ".join(map(str, words)))

        def on_train_start(self):
            pass

        def on_train_epoch_start(self):
            self.logger.log("lrs", 1.0, self.current_epoch)

        def train_step(self, batch):
            with torch.no_grad():
                self.network.weight += 1  # the weight counts the steps
            self.trained.append(self.current_epoch)
            clock.now += 1
            plan(self)
            return {"loss": 0.0}

        def on_train_epoch_end(self, train_outputs):
            self.logger.log("train_losses", 0.0, self.current_epoch)

        def on_validation_epoch_start(self):
            pass

        def validation_step(self, batch):
            return {}

        def perform_actual_validation(self, save_probabilities=False):
            summary = folder / "validation" / "summary.json"
            self.there_before = summary.exists()
            plan(self)
            summary.parent.mkdir(exist_ok=True)
            summary.write_text("{}")

        def on_validation_epoch_end(self, val_outputs):
            self.logger.log("mean_fg_dice", 0.0, self.current_epoch)
            self.logger.log("dice_per_class_or_region", [0.0], self.current_epoch)
            self.logger.log("val_losses", 0.0, self.current_epoch)

    return put_on(OneWeight, saver)()


class _Logger(LocalLogger):
    """The part of nnU-Net's that its trainer keeps in checkpoints; it draws no picture."""

    def __init__(self):
        super().__init__()

    def log(self, key, value, epoch):
        super().log(key, value, epoch)
        if key == "mean_fg_dice":
            super().log("ema_fg_dice", value, epoch)

    def plot_progress_png(self, folder):
        pass


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(autouse=True)
def kept_handlers():
    before = {name: signal.getsignal(getattr(signal, name)) for name in ("SIGUSR1", "SIGTERM")}
    yield
    for name, handler in before.items():
        signal.signal(getattr(signal, name), handler)


def saver_of(clock, monkeypatch, **variables):
    for name, value in variables.items():
        monkeypatch.setenv(f"NNUNET_PROSMA_{name}", str(value))
    saver = Saver(clock)
    saver.listen()
    return saver


def at(epoch, step, name):
    """Sends the signal after this step of this epoch."""

    def plan(trainer):
        if trainer.trained.count(epoch) == step and trainer.current_epoch == epoch:
            os.kill(os.getpid(), getattr(signal, name))

    return plan


@pytest.mark.parametrize("name", SIGNALS)
def test_a_signal_ends_the_training_after_the_running_epoch_and_the_next_one_follows(
    tmp_path, clock, monkeypatch, name
):
    first = trainer(tmp_path, saver_of(clock, monkeypatch), clock, at(1, 1, name))
    with pytest.raises(SystemExit, match=str(STOPPED)):
        first.run_training()
    assert first.trained == [0, 0, 0, 1, 1, 1]
    assert first.said[-1] == f"nnunet-prosma: stopped by {name} after epoch 1: no epoch is lost"
    assert read_checkpoint(tmp_path / "checkpoint_latest.pth")["current_epoch"] == 2
    assert progress_of(tmp_path).kept == 2
    second = trainer(tmp_path, saver_of(clock, monkeypatch), clock)
    second.load_checkpoint(checkpoint=str(tmp_path / "checkpoint_latest.pth"))
    second.run_training()
    assert second.trained == [2, 2, 2, 3, 3, 3]
    assert second.network.weight.item() == 12  # each step of four epochs once
    assert len(second.logger.get_value("train_losses", None)) == 4
    assert (tmp_path / "checkpoint_final.pth").is_file()
    assert not (tmp_path / "checkpoint_latest.pth").exists()
    assert not list(tmp_path.glob(".*"))


def test_a_signal_that_leaves_no_time_for_the_epoch_saves_within_it_and_the_rest_follows(tmp_path, clock, monkeypatch):
    """Epochs of 3 s; the signal leaves 4.5 s, of which 3 are kept free for saving."""
    saver = saver_of(clock, monkeypatch, LEAD_SIGUSR1=4.5)
    first = trainer(tmp_path, saver, clock, at(1, 1, "SIGUSR1"))
    with pytest.raises(SystemExit, match=str(STOPPED)):
        first.run_training()
    assert first.trained == [0, 0, 0, 1]
    assert "saved within epoch 1, after 1 of 3 iterations; no iteration is lost, but these 1 will be" in first.said[-1]
    assert read_checkpoint(tmp_path / "checkpoint_latest.pth")["current_epoch"] == 1
    assert progress_of(tmp_path).kept == pytest.approx(1 + 1 / 3)  # so a task with long epochs gets on
    second = trainer(tmp_path, saver_of(clock, monkeypatch), clock)
    second.load_checkpoint(str(tmp_path / "checkpoint_latest.pth"))
    second.run_training()
    assert second.trained == [1, 1, 2, 2, 2, 3, 3, 3]
    assert second.network.weight.item() == 12
    assert any("epoch 1 goes on after 1 of its 3 iterations" in line for line in second.said)


def test_a_signal_that_leaves_time_enough_waits_for_the_epochs_end(tmp_path, clock, monkeypatch):
    saver = saver_of(clock, monkeypatch, LEAD_SIGUSR1=6)
    first = trainer(tmp_path, saver, clock, at(1, 1, "SIGUSR1"))
    with pytest.raises(SystemExit, match=str(STOPPED)):
        first.run_training()
    assert first.trained == [0, 0, 0, 1, 1, 1]


def test_in_the_first_epoch_its_length_is_told_from_its_first_iterations(tmp_path, clock, monkeypatch):
    for lead, trained in ((4.5, [0]), (6, [0, 0, 0])):
        saver = saver_of(clock, monkeypatch, LEAD_SIGUSR1=lead)
        first = trainer(tmp_path, saver, clock, at(0, 1, "SIGUSR1"))
        with pytest.raises(SystemExit, match=str(STOPPED)):
            first.run_training()
        assert first.trained == trained


def test_a_checkpoint_that_is_not_the_one_our_mark_is_of_begins_its_epoch_anew(tmp_path, clock, monkeypatch):
    saver = saver_of(clock, monkeypatch, LEAD_SIGUSR1=4)
    with pytest.raises(SystemExit, match=str(STOPPED)):
        trainer(tmp_path, saver, clock, at(1, 1, "SIGUSR1")).run_training()
    path = tmp_path / "checkpoint_latest.pth"
    os.utime(path, ns=(1, 1))
    second = trainer(tmp_path, saver_of(clock, monkeypatch), clock, epochs=2)
    second.load_checkpoint(str(path))
    second.run_training()
    assert second.trained == [1, 1, 1]


def test_after_the_last_epoch_the_training_is_finished_and_its_validation_left(tmp_path, clock, monkeypatch):
    last = trainer(tmp_path, saver_of(clock, monkeypatch), clock, at(3, 3, "SIGUSR1"))
    with pytest.raises(SystemExit, match=str(STOPPED)):
        last.run_training()
    assert (tmp_path / "checkpoint_final.pth").is_file()
    assert last.said[-1].endswith("after the last epoch: the validation is left to do")


def test_where_no_checkpoint_could_keep_anything_a_signal_ends_at_once(clock, monkeypatch, capsys):
    saver = saver_of(clock, monkeypatch)
    for saver.phase in ("start", "validation"):
        with pytest.raises(SystemExit, match=str(STOPPED)):
            os.kill(os.getpid(), signal.SIGTERM)
        saver.signal = None
    assert "nothing is lost of the training" in capsys.readouterr().out


def test_checkpoints_are_written_when_the_last_is_old_enough(tmp_path, clock, monkeypatch):
    """Epochs of 3 s, a checkpoint every 6: after the second and fourth of five; nnU-Net's best ones are its own."""
    saver, saved = saver_of(clock, monkeypatch, CHECKPOINT_EVERY=0.1), []
    training = trainer(tmp_path, saver, clock, epochs=5)
    original = training.save_checkpoint

    def watched(filename):
        original(filename)
        if filename.endswith("latest.pth"):
            saved.append(training.current_epoch)

    training.save_checkpoint = watched
    training.run_training()
    assert saved == [1, 3]
    assert "every 0.1 min" in training.said[0]
    assert "torch's seed of this training: " in training.said[0]


def test_a_kill_while_a_checkpoint_is_written_leaves_the_one_before_whole(tmp_path, clock, monkeypatch):
    training = trainer(tmp_path, saver_of(clock, monkeypatch), clock)
    path = tmp_path / "checkpoint_latest.pth"
    training.save_checkpoint(str(path))
    before, save = path.read_bytes(), torch.save

    def cut_off(content, filename):
        save(content, filename)
        os.truncate(filename, 100)
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", cut_off)
    with pytest.raises(KeyboardInterrupt):
        training.save_checkpoint(str(path))
    assert path.read_bytes() == before
    monkeypatch.setattr(torch, "save", save)
    training.save_checkpoint(str(path))
    assert {entry.name for entry in tmp_path.iterdir()} == {"checkpoint_latest.pth", "checkpoints.json"}


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_what_a_killed_process_was_writing_goes_with_the_next_checkpoint(tmp_path, clock, monkeypatch):
    here, there = os.pipe()
    child = os.fork()
    if not child:
        training = trainer(tmp_path, Saver(clock), clock)
        monkeypatch.setattr(
            torch, "save", lambda content, name: (Path(name).touch(), os.write(there, b"1"), time.sleep(60))
        )
        training.save_checkpoint(str(tmp_path / "checkpoint_latest.pth"))
    os.read(here, 1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert len(list(tmp_path.glob(".checkpoint_latest.pth.*.part/checkpoint_latest.pth"))) == 1
    training = trainer(tmp_path, saver_of(clock, monkeypatch), clock)
    training.save_checkpoint(str(tmp_path / "checkpoint_latest.pth"))
    assert not list(tmp_path.glob(".*"))


def test_a_validation_is_marked_with_its_checkpoint_and_gone_before_another_begins(tmp_path, clock, monkeypatch):
    """nnU-Net leaves an earlier summary.json where a validation is killed, and says nowhere what it is of."""
    summary = tmp_path / "validation" / "summary.json"
    first = trainer(tmp_path, saver_of(clock, monkeypatch), clock, epochs=1)
    first.run_training()
    assert validated_checkpoint(tmp_path) is None
    first.perform_actual_validation()
    assert validated_checkpoint(tmp_path) == "checkpoint_final.pth"
    first.save_checkpoint(str(tmp_path / "checkpoint_best.pth"))
    assert validated_checkpoint(tmp_path) == "checkpoint_final.pth"

    best = trainer(tmp_path, saver_of(clock, monkeypatch), clock)
    best.load_checkpoint(str(tmp_path / "checkpoint_best.pth"))
    best.perform_actual_validation()
    assert not best.there_before
    assert validated_checkpoint(tmp_path) == "checkpoint_best.pth"

    def killed(trainer):
        raise KeyboardInterrupt

    final = trainer(tmp_path, saver_of(clock, monkeypatch), clock, killed)
    final.load_checkpoint(str(tmp_path / "checkpoint_final.pth"))
    with pytest.raises(KeyboardInterrupt):
        final.perform_actual_validation()
    assert not summary.exists()
    assert validated_checkpoint(tmp_path) is None

    best.perform_actual_validation()
    anew = trainer(tmp_path, saver_of(clock, monkeypatch), clock, killed)
    with pytest.raises(KeyboardInterrupt):
        anew.run_training()
    assert not summary.exists()
    assert validated_checkpoint(tmp_path) is None


@pytest.mark.parametrize(
    "marks", ["", "[]", '{"checkpoint_latest.pth": 3}', '{"checkpoint_latest.pth": {"epochs": "x"}}']
)
def test_marks_that_are_damaged_say_nothing(tmp_path, marks):
    (tmp_path / "checkpoint_latest.pth").touch()
    (tmp_path / "checkpoints.json").write_text(marks)
    assert progress_of(tmp_path).kept == 0
    assert validated_checkpoint(tmp_path) is None


def test_an_epoch_of_no_iterations_is_no_part_of_an_epoch(tmp_path):
    (tmp_path / "checkpoint_latest.pth").touch()
    mark(tmp_path / "checkpoint_latest.pth", 3, 0, 0)
    assert progress_of(tmp_path).kept == 3


def test_workers_that_the_signal_ended_end_the_training_at_a_checkpoint(tmp_path, clock, monkeypatch):
    """As nnU-Net's raise it; any other error is raised as ever."""

    def plan(trainer):
        if trainer.trained == [0, 0, 0, 1]:
            os.kill(os.getpid(), signal.SIGTERM)
            raise RuntimeError("One or more background workers are no longer alive. Exiting.")

    with pytest.raises(SystemExit, match=str(STOPPED)):
        trainer(tmp_path, saver_of(clock, monkeypatch), clock, plan).run_training()
    assert read_checkpoint(tmp_path / "checkpoint_latest.pth")["current_epoch"] == 1

    def broken(trainer):
        raise RuntimeError("CUDA out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        trainer(tmp_path, saver_of(clock, monkeypatch), clock, broken).run_training()


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_a_forked_worker_outlives_the_first_signal_and_not_the_second(clock, monkeypatch):
    """Slurm signals all processes of a job: the data of the running epoch must still come."""
    saver_of(clock, monkeypatch)
    here, there = os.pipe()
    worker = os.fork()
    if not worker:
        os.write(there, b"1")
        while True:
            time.sleep(0.01)
    os.read(here, 1)
    os.kill(worker, signal.SIGTERM)
    time.sleep(0.2)
    assert os.waitpid(worker, os.WNOHANG) == (0, 0)
    os.kill(worker, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]) == -signal.SIGTERM


def test_a_class_is_wrapped_once_and_keeps_its_name(clock):
    class Own(nnUNetTrainer):
        pass

    saver = Saver(clock)
    wrapped = put_on(put_on(Own, saver), saver)
    assert wrapped is Own
    assert Own.__name__ == "Own"
    assert Own.run_training.__closure__[0].cell_contents is nnUNetTrainer.run_training
    assert nnUNetTrainer not in saving.SAVED
