"""One training by nnUNetv2_train, followed through what it prints."""

import re
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nnunet_prosma.demo.phantom import LABELS
from nnunet_prosma.errors import InputError
from nnunet_prosma.host.processes import run
from nnunet_prosma.progress import progress_bar


@dataclass(frozen=True)
class Training:
    seconds: float
    """Time of the whole command."""
    epoch_s: float
    """Time of the median epoch."""
    parameters: int


def train(command: list[str], epochs: int, log: Path, env: Mapping[str, str]) -> Training:
    """Runs the command under a progress bar that shows the last epoch's pseudo Dice, nnU-Net's running estimate."""
    begin = time.monotonic()
    epoch_s: list[float] = []
    parameters: list[int] = []
    with progress_bar(total=epochs, unit="epoch", desc="starting", leave=False) as bar:

        def follow(line: str) -> None:
            if found := re.search(r"Parameters: (\d+)", line):
                parameters.append(int(found[1]))
                bar.set_description("training")
            elif found := re.search(r"Pseudo dice \[(.*)\]", line):
                names = [name for name, label in LABELS.items() if label]
                values = re.findall(r"nan|\d+\.\d+", found[1])
                dice = " ".join(f"{name} {value}" for name, value in zip(names, values, strict=True))
                bar.set_postfix_str(f"pseudo Dice: {dice}", refresh=False)
            elif found := re.search(r"Epoch time: ([\d.]+) s", line):
                epoch_s.append(float(found[1]))
                bar.update()
                if len(epoch_s) == epochs:
                    bar.set_description("validating")

        run(command, log, env, follow)
    if not (parameters and epoch_s):
        raise InputError(f"{command[0]} ended without telling its epochs; its whole output is in {log}")
    return Training(time.monotonic() - begin, statistics.median(epoch_s), parameters[0])
