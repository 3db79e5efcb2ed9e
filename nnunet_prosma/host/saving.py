"""Checkpoints of any nnU-Net trainer, written whole and in time: nothing but saving is touched.

Put on a trainer class at run time, so that vanilla's trainers are saved as ours are. A signal (SIGUSR1, SIGTERM) ends
the training at a checkpoint, from which nnUNetv2_train --c goes on; it exits with STOPPED. Where the time that is left
is too short for the rest of the epoch, the checkpoint is of the midst of it, and the epoch's last part follows later.
"""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from nnunet_prosma.files.leftovers import remove, remove_dead, temporary_name
from nnunet_prosma.host.marks import forget_validation, mark, mark_validated, read_marks
from nnunet_prosma.host.trained import FINAL, LATEST

STOPPED = 75
"""The exit status of a training that stopped at a checkpoint: a later attempt succeeds (sysexits.h's EX_TEMPFAIL)."""
MINUTES, LEAD = "NNUNET_PROSMA_CHECKPOINT_EVERY", "NNUNET_PROSMA_LEAD_"
"""Environment variables: minutes between checkpoints, and after the signal's name the seconds that it leaves."""
RESERVE_S = 3.0
"""Time beside twice what the slowest checkpoint took, kept free for writing one."""


class Saver:
    """What one process of a training knows of its signals and its clock."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.every_s = 60 * float(os.environ.get(MINUTES, "inf"))
        self.signal: str | None = None
        self.deadline = float("inf")
        self.phase = "start"
        self.process = os.getpid()
        self.saved_at = clock()
        self.longest_epoch_s = 0.0
        self.longest_saving_s = 0.0
        self.epoch_began = clock()
        self.iterations = 0
        self.of_iterations = 0
        self.to_do = 0
        self.done_before = 0
        """Iterations of the epoch to come that an earlier attempt did."""
        self.weights = ""
        """Name of the checkpoint that the network's weights are of."""

    def listen(self) -> None:
        for name in ("SIGUSR1", "SIGTERM"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), self.asked)

    def asked(self, signum: int, frame: FrameType | None) -> None:
        if os.getpid() != self.process:  # a worker, forked from the training: it is needed until the epoch's end
            signal.signal(signum, signal.SIG_DFL)
            return
        if self.signal is None:
            self.signal = signal.Signals(signum).name
            self.deadline = self.clock() + float(os.environ.get(LEAD + self.signal, "inf"))
        if self.phase not in ("training", "left"):  # nothing would be lost that a checkpoint could keep
            print(f"nnunet-prosma: stopped by {self.signal}; nothing is lost of the training", flush=True)
            raise SystemExit(STOPPED)

    @property
    def reserve_s(self) -> float:
        return RESERVE_S + 2 * self.longest_saving_s

    def no_time_for_the_epoch(self) -> bool:
        """Whether too little time is left for an epoch: by the longest one that was seen; in the first one by the
        iterations that are done."""
        if self.signal is None or self.deadline == float("inf"):
            return False
        now = self.clock()
        end = self.epoch_began + self.longest_epoch_s
        if not self.longest_epoch_s:
            end = now + (now - self.epoch_began) / max(1, self.iterations) * (self.to_do - self.iterations)
        return max(now, end) + self.reserve_s > self.deadline


SAVED: set[type] = set()
"""Classes that were wrapped in this process."""


def put_on(trainer_class: type, saver: Saver) -> type:
    """The same class, its methods wrapped where they save, or where a signal must be seen."""
    if trainer_class not in SAVED:
        SAVED.add(trainer_class)
        for name, wrapper in WRAPPERS.items():
            setattr(trainer_class, name, wrapper(getattr(trainer_class, name), saver))
    return trainer_class


def _save_checkpoint(original: Any, saver: Saver) -> Any:
    def save_checkpoint(self: Any, filename: str) -> None:
        """By nnU-Net's own method, under a temporary name first; a mark beside it tells the epochs that it holds."""
        path = Path(filename)
        temporary = temporary_name(path) / path.name
        began = saver.clock()
        if self.local_rank:
            original(self, str(temporary))  # which writes nothing
            return
        remove_dead(path)
        temporary.parent.mkdir()
        try:
            original(self, str(temporary))
            if temporary.is_file():
                with temporary.open("rb+") as file:
                    os.fsync(file.fileno())  # a node that fails loses what only its memory held
                os.replace(temporary, path)
                mark(path, self.current_epoch + 1, 0)
                saver.longest_saving_s = max(saver.longest_saving_s, saver.clock() - began)
                if path.name == LATEST:
                    saver.saved_at = saver.clock()
        finally:
            remove(temporary.parent)

    return save_checkpoint


def _load_checkpoint(original: Any, saver: Saver) -> Any:
    def load_checkpoint(self: Any, *given: Any, **named: Any) -> None:
        (checkpoint,) = (*given, *named.values())  # the parameter has another name in later versions of nnU-Net
        original(self, checkpoint)
        saver.done_before = 0
        if not isinstance(checkpoint, str | os.PathLike):
            return
        path = Path(checkpoint)
        saver.weights = path.name
        known = read_marks(path.parent).get(path.name, {})
        stat = path.stat()
        if (known.get("size"), known.get("mtime_ns")) == (stat.st_size, stat.st_mtime_ns):
            saver.done_before = known.get("iterations", 0)

    return load_checkpoint


def _run_training(original: Any, saver: Saver) -> Any:
    def run_training(self: Any) -> None:
        import torch

        minutes = "only when nnU-Net does" if saver.every_s == float("inf") else f"every {saver.every_s / 60:g} min"
        self.print_to_log_file(
            f"nnunet-prosma saves this training's checkpoints: whole, {minutes}, and when a signal ends it. Nothing "
            f"else of the trainer is touched. torch's seed of this training: {torch.initial_seed()}; nnU-Net fixes no "
            f"seeds, and its workers draw their own"
        )
        saver.phase = "training"
        saver.saved_at = saver.clock()
        if self.local_rank == 0:
            forget_validation(Path(self.output_folder))
        try:
            original(self)
        except RuntimeError as error:
            if saver.signal is None or "workers" not in str(error):
                raise
            save_within_the_epoch(self, saver, f"{saver.signal} ended nnU-Net's workers")
        saver.phase, saver.weights = "after training", FINAL
        if saver.signal is not None:
            leave(self, saver, f"stopped by {saver.signal} after the last epoch: the validation is left to do")

    return run_training


def _on_epoch_start(original: Any, saver: Saver) -> Any:
    def on_epoch_start(self: Any) -> None:
        original(self)
        done, saver.done_before = saver.done_before, 0
        saver.of_iterations = self.num_iterations_per_epoch
        if 0 < done < self.num_iterations_per_epoch:
            self.print_to_log_file(
                f"nnunet-prosma: epoch {self.current_epoch} goes on after {done} of its {saver.of_iterations} "
                f"iterations; its train_loss is the mean of the others"
            )
            self.num_iterations_per_epoch -= done
        saver.to_do, saver.iterations, saver.epoch_began = self.num_iterations_per_epoch, 0, saver.clock()

    return on_epoch_start


def _train_step(original: Any, saver: Saver) -> Any:
    def train_step(self: Any, batch: Any) -> Any:
        result = original(self, batch)
        saver.iterations += 1
        if self.local_rank == 0 and saver.no_time_for_the_epoch():
            save_within_the_epoch(self, saver, f"{saver.signal} leaves no time for the rest of the epoch")
        return result

    return train_step


def _validation_step(original: Any, saver: Saver) -> Any:
    def validation_step(self: Any, batch: Any) -> Any:
        self.num_iterations_per_epoch = saver.of_iterations
        result = original(self, batch)
        if self.local_rank == 0 and saver.no_time_for_the_epoch():
            save_within_the_epoch(self, saver, f"{saver.signal} leaves no time for the rest of the epoch")
        return result

    return validation_step


def _on_epoch_end(original: Any, saver: Saver) -> Any:
    def on_epoch_end(self: Any) -> None:
        self.num_iterations_per_epoch = saver.of_iterations
        original(self)
        now = saver.clock()
        saver.longest_epoch_s = max(saver.longest_epoch_s, now - saver.epoch_began)
        stop = agreed(self, saver.signal is not None)
        if self.current_epoch >= self.num_epochs:
            return
        if stop or now - saver.saved_at >= saver.every_s:
            self.current_epoch -= 1  # as in nnU-Net's on_train_end: a checkpoint is of the epoch that has just ended
            self.save_checkpoint(os.path.join(self.output_folder, LATEST))
            self.current_epoch += 1
        if stop:
            together(self)
            leave(
                self,
                saver,
                f"stopped by {saver.signal or 'a signal'} after epoch {self.current_epoch - 1}: no epoch is lost",
            )

    return on_epoch_end


def _perform_actual_validation(original: Any, saver: Saver) -> Any:
    def perform_actual_validation(self: Any, save_probabilities: bool = False) -> None:
        saver.phase = "validation"
        if saver.signal is not None:
            leave(self, saver, f"stopped by {saver.signal} before the validation")
        if self.local_rank == 0:
            forget_validation(Path(self.output_folder))
        original(self, save_probabilities)
        if self.local_rank == 0:
            mark_validated(Path(self.output_folder), saver.weights)

    return perform_actual_validation


WRAPPERS = {
    "save_checkpoint": _save_checkpoint,
    "load_checkpoint": _load_checkpoint,
    "run_training": _run_training,
    "on_epoch_start": _on_epoch_start,
    "train_step": _train_step,
    "validation_step": _validation_step,
    "on_epoch_end": _on_epoch_end,
    "perform_actual_validation": _perform_actual_validation,
}


def save_within_the_epoch(trainer: Any, saver: Saver, why: str) -> None:
    """The next attempt does the iterations that are left of this epoch; at least one, which the last may be again."""
    done = saver.of_iterations - saver.to_do + saver.iterations
    path = Path(trainer.output_folder) / LATEST
    trainer.current_epoch -= 1
    trainer.save_checkpoint(str(path))
    trainer.current_epoch += 1
    if trainer.local_rank == 0 and path.is_file():
        mark(path, trainer.current_epoch, min(done, saver.of_iterations - 1), saver.of_iterations)
    lost = f"no iteration is lost, but these {done} will be missing in the epoch's train_loss"
    if done == saver.of_iterations:
        lost = "its last iteration and its validation are lost, and done again"
    so_far = f"after {done} of {saver.of_iterations} iterations"
    leave(trainer, saver, f"{why}: saved within epoch {trainer.current_epoch}, {so_far}; {lost}")


def leave(trainer: Any, saver: Saver, sentence: str) -> None:
    trainer.print_to_log_file(f"nnunet-prosma: {sentence}")
    saver.phase = "left"
    for loader in (trainer.dataloader_train, trainer.dataloader_val):
        if hasattr(loader, "_finish"):
            loader._finish()
    raise SystemExit(STOPPED)


def agreed(trainer: Any, wish: bool) -> bool:
    """Whether one of the ranks was asked to stop: they do it after the same epoch."""
    if not trainer.is_ddp:
        return wish
    import torch
    from torch import distributed

    flag = torch.tensor(int(wish), device=trainer.device)
    distributed.all_reduce(flag, op=distributed.ReduceOp.MAX)
    return bool(flag.item())


def together(trainer: Any) -> None:
    """No rank leaves before the first has saved: the others are ended with the first that does."""
    if trainer.is_ddp:
        from torch import distributed

        distributed.barrier()
