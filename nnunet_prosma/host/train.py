"""nnUNetv2_train with its checkpoints saved whole and in time: python -c START, and the same arguments.

nnU-Net's own entry point is called; what is put in the place of names in its module only wraps them. A process that
nnU-Net spawns starts without START, and a rank imports this module, so nothing happens on import.
"""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from nnunet_prosma.host.saving import STOPPED, Saver, put_on

START = (
    "import sys; sys.path = [p for p in sys.path if p]; "  # without the current folder, as an installed command
    "from nnunet_prosma.host.train import main; main()"
)


def main() -> None:
    from nnunetv2.run import run_training as host

    saver = Saver()
    saver.listen()
    save_what_is_found(saver)
    host.run_ddp = saved_rank
    host.run_training = started_by(host.run_training, saver)
    sys.argv[0] = "nnUNetv2_train"
    host.run_training_entry()


def save_what_is_found(saver: Saver) -> None:
    """The trainer that nnU-Net looks up by its name is saved by us."""
    from nnunetv2.run import run_training as host

    find = host.recursive_find_trainer_class_by_name

    def recursive_find_trainer_class_by_name(name: str) -> type:
        return put_on(find(name), saver)

    host.recursive_find_trainer_class_by_name = recursive_find_trainer_class_by_name


def started_by(run_training: Callable[..., None], saver: Saver) -> Callable[..., None]:
    """nnU-Net's run_training with the threads that were allotted, and with its ranks told of signals."""

    def run(*arguments: Any, **named: Any) -> None:
        import inspect

        import torch

        given = inspect.signature(run_training).bind(*arguments, **named).arguments
        if given["device"].type == "cpu" and os.environ.get("OMP_NUM_THREADS", "").isdigit():
            torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))  # nnU-Net takes all cores of the machine
        if given.get("num_gpus", 1) > 1:
            with_ranks(saver, lambda: run_training(*arguments, **named))
        else:
            run_training(*arguments, **named)

    return run


def with_ranks(saver: Saver, spawn: Callable[[], None]) -> None:
    """Signals go to every rank; the ranks' stop is this process's."""
    from torch.multiprocessing.spawn import ProcessExitedException

    asked: list[int] = []

    def forward(signum: int, frame: object) -> None:
        asked.append(signum)
        for rank in multiprocessing.active_children():
            if rank.pid is not None:
                os.kill(rank.pid, signum)

    for name in ("SIGUSR1", "SIGTERM"):
        signal.signal(getattr(signal, name), forward)
    try:
        spawn()
    except ProcessExitedException as ended:
        if ended.exit_code == STOPPED or (asked and ended.exit_code == -asked[0]):
            raise SystemExit(STOPPED) from None
        raise


def saved_rank(rank: int, *arguments: Any) -> None:
    """nnU-Net's run_ddp, in a process of its own."""
    from nnunetv2.run import run_training as host

    saver = Saver()
    saver.listen()
    save_what_is_found(saver)
    host.run_ddp(rank, *arguments)
