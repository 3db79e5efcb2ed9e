"""nnU-Net's own commands, from this Python's environment, with their output in a log file."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from nnunet_prosma.errors import InputError


def run(
    command: Sequence[str],
    log: Path,
    env: Mapping[str, str],
    on_line: Callable[[str], None] = lambda line: None,
    *,
    name: str | None = None,
    append: bool = False,
    accept: Sequence[int] = (0,),
    on_start: Callable[[subprocess.Popen], None] = lambda process: None,
) -> int:
    """Runs a command to its end, hands on each line of its output, and returns its exit status.

    One that is not accepted is an InputError which names the log. The command has a process group of its own, which
    ends with it, and also when this function is left early. name: what messages call the command. append: to what the
    log holds already. on_start: is given the process as soon as there is one.
    """
    program = find(command[0])
    with open(log, "a" if append else "w") as output, open(log, errors="replace") as written:
        written.seek(0, os.SEEK_END)
        process = subprocess.Popen(
            [program, *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={"PYTHONUNBUFFERED": "1", **env},  # so that lines come as they are printed, and in their order
            start_new_session=True,
        )
        try:
            on_start(process)
            last, partial, running = "", "", True
            while running:
                running = process.poll() is None
                *lines, partial = (partial + written.read()).split("\n")
                for line in lines:
                    last = line.strip() or last
                    on_line(line)
                if running:
                    time.sleep(0.2)
        finally:
            _end(process)
    if process.returncode not in accept:
        raise InputError(
            f"{name or command[0]} ended with status {process.returncode} ({partial.strip() or last or 'no output'}); "
            f"its whole output is in {log}"
        )
    return process.returncode


def find(command: str) -> str:
    """The command as this environment has it installed, wherever PATH leads."""
    scripts = [os.path.dirname(sys.executable), sysconfig.get_path("scripts")]
    scripts.append(sysconfig.get_path("scripts", sysconfig.get_preferred_scheme("user")))
    found = shutil.which(command, path=os.pathsep.join(scripts))
    if found is None:
        raise InputError(f"there is no {command} in {scripts[1]}; install it there: pip install 'nnunetv2>=2.8,<3'")
    return found


def _end(process: subprocess.Popen) -> None:
    """Ends what is left of the command's process group: gently, and after 5 s by force."""
    if sys.platform == "win32":
        process.kill()
    else:
        for wanted in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(process.pid, wanted)
                process.wait(5)
    process.wait()
