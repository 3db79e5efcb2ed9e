"""The runs of a study on this machine: one after the other, or several at once from a common queue."""

import os
import threading
import time
from collections.abc import Sequence

from nnunet_prosma.errors import InputError
from nnunet_prosma.study.array import end_of_task
from nnunet_prosma.study.attempt import attempt
from nnunet_prosma.study.lock import HeldError
from nnunet_prosma.study.runs import Run
from nnunet_prosma.study.setting import Setting
from nnunet_prosma.study.share import variables
from nnunet_prosma.study.standing import DONE, standing
from nnunet_prosma.study.stop import Stop
from nnunet_prosma.study.view import View

Slot = dict[str, str]
"""Environment variables of one of the trainings that run at once."""


def slots(device: str, jobs: int | None, gpus: Sequence[str] | None, num_gpus: int) -> list[Slot]:
    """--gpus: one training a GPU, or num_gpus of them a training; --jobs: so many at once, in turn on these GPUs."""
    if gpus and device != "cuda":
        raise InputError(f"--gpus {' '.join(gpus)} needs -device cuda, not {device}; --jobs N trains N at once without")
    if gpus and len(set(gpus)) < len(gpus):
        raise InputError(f"--gpus {' '.join(gpus)} names a GPU twice; --jobs N puts several trainings on one")
    if gpus and len(gpus) % num_gpus:
        raise InputError(f"--gpus names {len(gpus)} GPUs, which is no multiple of -num_gpus {num_gpus}")
    if jobs is not None and jobs < 1:
        raise InputError(f"--jobs must be 1 or more, got {jobs}")
    groups = [gpus[n : n + num_gpus] for n in range(0, len(gpus), num_gpus)] if gpus else [None]
    own = [{} if group is None else {"CUDA_VISIBLE_DEVICES": ",".join(group)} for group in groups]
    return [own[n % len(own)] for n in range(jobs or len(own))]


def work_off(runs: list[Run], setting: Setting, places: list[Slot]) -> tuple[list[str], Stop]:
    """What went wrong, a sentence each; and whether, and by what, the study was stopped."""
    wrong: list[str] = []
    elsewhere: dict[str, str] = {}
    waiting = list(enumerate(runs, 1))
    view = View(sum(standing(run, setting) in DONE for run in runs), len(runs))
    taking = threading.Lock()

    def failed(sentence: str) -> None:
        wrong.append(sentence)
        view.say(f"{sentence}; the rest goes on" if waiting else sentence)

    def work(place: int) -> None:
        told = variables(setting.device, len(places), setting.num_gpus, os.environ) | places[place]
        while not stop.signal:
            with taking:
                if not waiting:
                    return
                number, run = waiting.pop(0)
            finished = False
            try:
                how = standing(run, setting)
                view.say(f"[{number}/{len(runs)}] {run.title}: {how}")
                if how in DONE:
                    continue
                view.begin(run, place)
                done = attempt(run, setting, told, stop, lambda line, run=run: view.follow(run, line))  # type: ignore[misc]
                finished = done is None or done.state == "finished"
                if done is None:
                    view.say(f"{run.title}: finished elsewhere meanwhile")
                elif done.state == "failed":
                    failed(f"{run.title}: {done.why}")
                elif done.state == "stopped":
                    follows = end_of_task(run, setting, done) if len(runs) == 1 else ""
                    view.say("; ".join(part for part in (f"{run.title}: {done.why}", follows) if part))
            except HeldError as error:
                elsewhere[run.key] = str(error)
                view.say(f"{error}; the rest goes on" if waiting else str(error))
            except Exception as error:
                failed(f"{run.title}: {type(error).__name__}: {error}")
            finally:
                view.end(run, finished)

    with Stop().listening() as stop:
        threads = [threading.Thread(target=work, args=(place,)) for place in range(len(places))]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):  # a signal is seen between two waits
            time.sleep(0.1)
    view.close()
    if waiting and not stop.signal:
        wrong.append(f"{len(waiting)} of {len(runs)} runs were not begun, since this study's threads have ended early")
    for run in runs:
        if run.key in elsewhere and standing(run, setting) not in DONE:  # not finished meanwhile
            wrong.append(elsewhere[run.key])
    return wrong, stop
