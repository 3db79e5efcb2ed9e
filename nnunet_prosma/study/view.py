"""All running trainings in one view: a bar each, with its time left, below a line for the whole study."""

import re
import sys
import threading
from typing import Any

from nnunet_prosma.host.progress import progress_of
from nnunet_prosma.progress import progress_bar
from nnunet_prosma.study.runs import Run


class View:
    """Bars where stderr is a terminal; the lines that are said go to stdout in any case."""

    def __init__(self, done: int, total: int) -> None:
        self._lock = threading.RLock()
        self._bars: dict[str, Any] = {}
        self._all = self._bar("study", total=total, initial=done, unit="run", position=0)

    def _bar(self, title: str, **settings: Any) -> Any:
        return progress_bar(desc=title, leave=False, dynamic_ncols=True, **settings)

    def say(self, line: str) -> None:
        from tqdm import tqdm

        with self._lock:
            tqdm.write(line, file=sys.stdout)
            sys.stdout.flush()

    def begin(self, run: Run, place: int) -> None:
        progress = progress_of(run.folder)
        known = {"total": progress.epochs, "initial": progress.epoch, "unit": "epoch", "position": place + 1}
        with self._lock:
            self._bars[run.key] = self._bar(f"{_short(run)}, starting", **known)

    def follow(self, run: Run, line: str) -> None:
        bar = self._bars.get(run.key)
        if bar is None or bar.disable:
            return
        with self._lock:
            if found := re.search(r": Epoch (\d+) *$", line):
                bar.total = bar.total or progress_of(run.folder).epochs
                bar.n = int(found[1])
                bar.set_description(_short(run))
            elif re.search(r"Epoch time: [\d.]+ s", line):
                bar.update()
            elif ": predicting " in line:
                bar.set_description(f"{_short(run)}, validating")

    def end(self, run: Run, finished: bool) -> None:
        with self._lock:
            bar = self._bars.pop(run.key, None)
            if bar is not None:
                bar.close()
            if finished:
                self._all.update()

    def close(self) -> None:
        with self._lock:
            self._all.close()


def _short(run: Run) -> str:
    return f"{run.arm.row}, fold {run.fold}" + ("" if run.repeat is None else f", repeat {run.repeat}")
