"""The record of a training's gates: gates.csv, a row for each epoch and gate, and what it says of a gate's health."""

import csv
import io
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import isnan
from pathlib import Path

from nnunet_prosma.files import write_text

FILE = "gates.csv"
STATISTICS = (
    "zeros",
    "unsupported",
    "lam_min",
    "lam_median",
    "lam_max",
    "psi_mean",
    "psi_p05",
    "psi_p95",
    "c_mean",
    "c_p05",
    "c_p95",
)
"""What version 0.1 recorded too."""
ADDED = ("psi_low", "psi_high", "alpha")
KEYS = ("epoch", "gate", "stride")
COLUMNS = (*KEYS, *STATISTICS, *ADDED)
DEAD, IDLE = 0.99, 0.001
"""A gate with a larger, or with a smaller, share of exact zeros in z in each of EPOCHS epochs is dead, or idle."""
EPOCHS = 5
LOW, HIGH = 0.01, 0.99
"""psi_low and psi_high are the shares of voxels with psi below the one and above the other."""
SATURATED = 0.5
"""A gate with a larger share of both together in each of EPOCHS epochs is saturated."""


@dataclass(frozen=True)
class GateEpoch:
    """values: by column, those that this kind of gate has."""

    epoch: int
    gate: int
    stride: str
    values: dict[str, float]

    @property
    def name(self) -> str:
        return f"gates.{self.gate}"


@dataclass
class Record:
    """The rows in the order of epochs, and within one from the coarsest gate to the finest."""

    rows: list[GateEpoch] = field(default_factory=list)

    def add(self, rows: Iterable[GateEpoch]) -> None:
        """Adds the rows of an epoch; what is there of it already, or of a later one, is dropped."""
        new = list(rows)
        self.rows = [row for row in self.rows if row.epoch < new[0].epoch] + new if new else self.rows

    def cut(self, epoch: int) -> None:
        """Keeps what is of an earlier epoch: a training goes on from its last checkpoint, and repeats what followed."""
        self.rows = [row for row in self.rows if row.epoch < epoch]

    def gates(self) -> list[int]:
        return sorted({row.gate for row in self.rows})

    def of(self, gate: int) -> list[GateEpoch]:
        return [row for row in self.rows if row.gate == gate]

    def write(self, path: Path) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for row in self.rows:
            values = {name: f"{value:.6g}" for name, value in row.values.items()}
            writer.writerow({"epoch": row.epoch, "gate": row.name, "stride": row.stride, **values})
        write_text(path, text.getvalue())


def read(path: Path) -> Record:
    """A ValueError says what is wrong with a file that cannot be read."""
    try:
        return _read(path)
    except csv.Error as error:  # is no ValueError
        raise ValueError(f"it is no table of text: {error}") from None


def _read(path: Path) -> Record:
    with path.open(newline="") as file:
        lines = csv.DictReader(file)
        if tuple(lines.fieldnames or ()) not in (COLUMNS, (*KEYS, *STATISTICS)):
            raise ValueError(f"its columns must be {', '.join(COLUMNS)}")
        rows = []
        for number, line in enumerate(lines, start=2):
            try:
                added = ADDED if any(line.get(name) is not None for name in ADDED) else ()  # 0.1 wrote none
                values = {name: float(line[name]) for name in (*STATISTICS, *added) if line[name] != ""}
                gate = int(line["gate"].removeprefix("gates."))
                rows.append(GateEpoch(int(line["epoch"]), gate, line["stride"], values))
            except (ValueError, TypeError, AttributeError):
                raise ValueError(f"line {number} is cut off or damaged") from None
    return Record(rows)


def resumed_record(folder: Path, epoch: int) -> tuple[Record, str | None]:
    """The record in a fold's folder up to this epoch, and what must be said of it.

    One that cannot be read is put aside, not lost.
    """
    path = folder / FILE
    if not path.exists():
        return Record(), None
    if epoch == 0:  # another training, which overwrites what nnU-Net's first one left
        return Record(), None
    try:
        record = read(path)
    except (ValueError, OSError) as error:
        aside = path.with_name(f"{FILE}.unreadable")
        os.replace(path, aside)
        return Record(), f"{path} cannot be read ({error}): it is now {aside.name}, and the record starts at {epoch}"
    record.cut(epoch)
    return record, None


def state(rows: Sequence[GateEpoch]) -> str | None:
    """ "NaN" if a value of a gate's last row is that; "dead" or "idle" if its last EPOCHS rows all are; else None."""
    if rows and has_nan(rows[-1]):
        return "NaN"
    last = rows[-EPOCHS:]
    zeros = [row.values["zeros"] for row in last if "zeros" in row.values]
    if len(zeros) < EPOCHS or any(has_nan(row) for row in last):
        return None
    if min(zeros) > DEAD:
        return "dead"
    return "idle" if max(zeros) < IDLE else None


def has_nan(row: GateEpoch) -> bool:
    return any(isnan(value) for value in row.values.values())


def is_saturated(rows: Sequence[GateEpoch]) -> bool:
    """Whether the last EPOCHS rows of a gate all are; what removal="hard" sets to zero does not count."""
    last = rows[-EPOCHS:]
    shares = [row.values["psi_low"] + row.values["psi_high"] for row in last if "psi_low" in row.values]
    removed = [row.values.get("unsupported", 0) if row.values.get("psi_p05") == 0 else 0 for row in last]
    return len(shares) == EPOCHS and all(s - r > SATURATED for s, r in zip(shares, removed, strict=True))


def changes(record: Record, norm: str, nan_weight: str | None = None) -> list[str]:
    """What is to be said after the last epoch: one sentence for each gate whose state is no longer that before it.

    nan_weight: the first weight of the network that is NaN or infinite now.
    """
    said, broken = [], []
    for gate in record.gates():
        rows = record.of(gate)
        before, now = state(rows[:-1]), state(rows)
        if now == "NaN":
            broken += [rows[-1]] if before != now else []
            continue
        if now != before:
            said.append(sentence(rows[-1], before, now, norm))
        if is_saturated(rows) and not is_saturated(rows[:-1]):
            said.append(saturated(rows[-1], norm))
    return ([nan_sentence(record, broken, nan_weight)] if broken else []) + said


def nan_sentence(record: Record, broken: Sequence[GateEpoch], weight: str | None) -> str:
    """Since when: the first epoch of those without a break."""
    since = broken[0].epoch
    for row in reversed(record.of(broken[0].gate)):
        if not has_nan(row):
            break
        since = row.epoch
    names = ", ".join(row.name for row in broken)
    if weight is None:
        return (
            f"WARNING: since epoch {since} the values of {names} are NaN, while no weight is: what the network "
            f"computes for this batch overflows, or is no number to begin with. Look at the images and the precision."
        )
    return (
        f"WARNING: since epoch {since} the network's weights are NaN ({weight} is one), and so are the values of "
        f"{names}: this training is lost from there on. Go on from a checkpoint of before that epoch, or train again; "
        f"the loss in the log tells when it began."
    )


def saturated(row: GateEpoch, norm: str) -> str:
    other = "" if norm == "instance" else '; norm="instance" makes u independent of the scale of its input'
    return (
        f"WARNING: {row.name} (stride {row.stride}) is saturated: for {EPOCHS} epochs psi was below {LOW} or above "
        f"{HIGH} at more than {SATURATED:.0%} of its voxels ({row.values['psi_low']:.0%} below, "
        f"{row.values['psi_high']:.0%} above), where it hardly learns{other}."
    )


def sentence(row: GateEpoch, before: str | None, now: str | None, norm: str) -> str:
    what = f"{row.name} (stride {row.stride})"
    if "zeros" not in row.values:
        return f"{what} is no longer {before}."
    zeros = f"{100 * row.values['zeros']:.4g} % of its z are exact zeros"
    lam = f"{row.values['lam_median']:.3g}"
    other = "" if norm == "instance" else ', or norm="instance", which makes lam independent of the scale of u'
    if now == "dead":
        return (
            f"WARNING: {what} is dead: for {EPOCHS} epochs more than {DEAD:.0%} of its responses were under their "
            f"thresholds ({zeros}; median threshold {lam}). Where z is zero no gradient reaches u or the threshold, "
            f"so it will hardly recover by itself. Train again with a lower threshold at the start (gate setting lam)"
            f"{other}; docs/inspect.md says how."
        )
    if now == "idle":
        return (
            f"WARNING: {what} is idle: for {EPOCHS} epochs fewer than {IDLE:.1%} of its responses were under their "
            f"thresholds ({zeros}; median threshold {lam}), so it is not sparse. If it should be, train again with a "
            f"higher threshold at the start (gate setting lam){other}; docs/inspect.md says how."
        )
    return f"{what} is no longer {before}: {zeros}."
