"""A study that is asked to end: what runs is asked to end at a checkpoint; asked again, it is ended at once."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ASKING = [name for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)]


class Stop:
    """signal: the first signal that asked, or None."""

    def __init__(self) -> None:
        self.signal: str | None = None
        self._running: set[subprocess.Popen] = set()
        self._lock = threading.RLock()  # the handler may come while its own thread holds it

    @contextmanager
    def listening(self) -> Iterator["Stop"]:
        before = {name: signal.signal(getattr(signal, name), self._asked) for name in ASKING}
        try:
            yield self
        finally:
            for name, handler in before.items():
                signal.signal(getattr(signal, name), handler)

    @contextmanager
    def reaching(self, process: subprocess.Popen) -> Iterator[None]:
        with self._lock:
            self._running.add(process)
            if self.signal:
                self._pass_on(process)
        try:
            yield
        finally:
            with self._lock:
                self._running.discard(process)

    def _asked(self, signum: int, frame: FrameType | None) -> None:
        name = signal.Signals(signum).name
        with self._lock:
            again = self.signal is not None and name == "SIGINT"
            self.signal = self.signal or name
            for process in self._running:
                self._kill(process) if again else self._pass_on(process)
        if name == "SIGINT":
            said = "ending at once" if again else "the running trainings end at a checkpoint; Ctrl-C again: at once"
            print(f"\nnnunet-prosma study: {said}", file=sys.stderr, flush=True)

    def _pass_on(self, process: subprocess.Popen) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGUSR1 if self.signal == "SIGUSR1" else signal.SIGTERM)

    def _kill(self, process: subprocess.Popen) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.kill() if sys.platform == "win32" else os.killpg(process.pid, signal.SIGKILL)
