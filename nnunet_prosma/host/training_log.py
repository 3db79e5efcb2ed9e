"""What nnU-Net's training_log_*.txt files of a fold tell: curves, epoch times, sizes of the split."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

EPOCH = re.compile(r": Epoch (\d+) *$", re.MULTILINE)
VALIDATED = ": Validation complete"
SPLIT = re.compile(r"has (\d+) training and (\d+) validation cases")
NUMBER = r"(?:np\.float\d+\()?(-?[\d.]+(?:e-?\d+)?|nan)"
VALUES = {
    "train_loss": re.compile(rf": train_loss {NUMBER}"),
    "val_loss": re.compile(rf": val_loss {NUMBER}"),
    "seconds": re.compile(rf": Epoch time: {NUMBER} s"),
}
DICE = re.compile(r": Pseudo dice \[(.*)\]")
GATE_PATH = re.compile(r"computed on (\w+ by the path: .*)")
MEMORY = re.compile(r"[Pp]eak (?:GPU |CUDA )?memory[^:]*: ([\d.]+) ?(GiB|MiB)")


@dataclass(frozen=True)
class TrainingLog:
    """curves: name -> epoch -> value, of train_loss, val_loss, pseudo_dice and seconds."""

    curves: dict[str, dict[int, float]] = field(default_factory=dict)
    training_cases: int | None = None
    peak_memory_gib: float | None = None
    gate_path: str | None = None
    """The path by which the gates were computed, without the reasons; None for a training without gates."""

    @property
    def epochs(self) -> int:
        """Epochs that were finished."""
        return len(self.curves.get("seconds", {}))

    @property
    def seconds_per_epoch(self) -> float | None:
        """The median, which the first epoch (compilation, caches) does not move."""
        seconds = self.curves.get("seconds", {})
        return median(seconds.values()) if seconds else None


def read_training_logs(folder: Path) -> TrainingLog:
    """All logs of a fold in the order of time: where a training was continued, the later one holds."""
    curves: dict[str, dict[int, float]] = {"train_loss": {}, "val_loss": {}, "pseudo_dice": {}, "seconds": {}}
    training_cases, memory, gate_path = None, None, None
    for path in logs_of(folder):
        epoch = -1
        for line in path.read_text(errors="replace").splitlines():
            if found := EPOCH.search(line):
                epoch = int(found[1])
            elif found := DICE.search(line):
                values = [float(v) for v in re.findall(r"(?<!float)(?<!\d)(\d+\.\d+|nan)", found[1])]
                defined = [v for v in values if v == v]
                curves["pseudo_dice"][epoch] = sum(defined) / len(defined) if defined else float("nan")
            elif found := SPLIT.search(line):
                training_cases = int(found[1])
            elif found := MEMORY.search(line):
                memory = float(found[1]) / (1024 if found[2] == "MiB" else 1)
            elif found := GATE_PATH.search(line):
                gate_path = re.sub(r" \([^)]*\)", "", found[1]).strip()
            else:
                for name, pattern in VALUES.items():
                    if found := pattern.search(line):
                        curves[name][epoch] = float(found[1])
    return TrainingLog(curves, training_cases, memory, gate_path)


def retrained(folder: Path) -> bool:
    """Whether epochs follow after the last validation; False where the logs tell of no validation."""
    text = "\n".join(path.read_text(errors="replace") for path in logs_of(folder))
    _, validated, since = text.rpartition(VALIDATED)
    return bool(validated and EPOCH.search(since))


def logs_of(folder: Path) -> list[Path]:
    """In the order of time."""
    return sorted(folder.glob("training_log_*.txt"), key=_time_in_name)


def _time_in_name(path: Path) -> tuple[int, ...]:
    """training_log_2026_3_9_07_05_01.txt: the numbers are not all padded, so the names do not sort by time."""
    return tuple(int(number) for number in re.findall(r"\d+", path.stem))
