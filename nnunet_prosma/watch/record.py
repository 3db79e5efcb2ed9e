"""The record of a training's gates: gates.csv, a row for each epoch and gate, and what it says of a gate's health."""

import csv
import io
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
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
COLUMNS = ("epoch", "gate", "stride", *STATISTICS)
DEAD, IDLE = 0.99, 0.001
"""A gate with a larger, or with a smaller, share of exact zeros in z in each of EPOCHS epochs is dead, or idle."""
EPOCHS = 5


@dataclass(frozen=True)
class Row:
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
    """In the order of epochs, and within one from the coarsest gate to the finest."""

    rows: list[Row] = field(default_factory=list)

    def add(self, rows: Iterable[Row]) -> None:
        """Those of an epoch; what is there of it already, or of a later one, is dropped."""
        new = list(rows)
        self.rows = [row for row in self.rows if row.epoch < new[0].epoch] + new if new else self.rows

    def cut(self, epoch: int) -> None:
        """Keeps what is of an earlier epoch: a training goes on from its last checkpoint, and repeats what followed."""
        self.rows = [row for row in self.rows if row.epoch < epoch]

    def gates(self) -> list[int]:
        return sorted({row.gate for row in self.rows})

    def of(self, gate: int) -> list[Row]:
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
    with path.open(newline="") as file:
        lines = csv.DictReader(file)
        if tuple(lines.fieldnames or ()) != COLUMNS:
            raise ValueError(f"its columns must be {', '.join(COLUMNS)}")
        rows = []
        for number, line in enumerate(lines, start=2):
            try:
                values = {name: float(line[name]) for name in STATISTICS if line[name] != ""}
                gate = int(line["gate"].removeprefix("gates."))
                rows.append(Row(int(line["epoch"]), gate, line["stride"], values))
            except (ValueError, TypeError, AttributeError):
                raise ValueError(f"line {number} is cut off or damaged") from None
    return Record(rows)


def taken_up(folder: Path, epoch: int) -> tuple[Record, str | None]:
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


def state(rows: Sequence[Row]) -> str | None:
    """ "dead" or "idle" if the last EPOCHS rows of a gate all are, else None."""
    last = rows[-EPOCHS:]
    zeros = [row.values["zeros"] for row in last if "zeros" in row.values]
    if len(zeros) < EPOCHS:
        return None
    if min(zeros) > DEAD:
        return "dead"
    return "idle" if max(zeros) < IDLE else None


def changes(record: Record, norm: str) -> list[str]:
    """What is to be said after the last epoch: one sentence for each gate whose state is no longer that before it."""
    said = []
    for gate in record.gates():
        rows = record.of(gate)
        before, now = state(rows[:-1]), state(rows)
        if now != before:
            said.append(sentence(rows[-1], before, now, norm))
    return said


def sentence(row: Row, before: str | None, now: str | None, norm: str) -> str:
    what = f"{row.name} (stride {row.stride})"
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
