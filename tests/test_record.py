"""The file of a training's gates: written, read again, gone on with, and put aside where it is damaged."""

import csv
import os

import pytest
from recorded import history, row, watched

from nnunet_prosma.watch.record import (
    COLUMNS,
    FILE,
    GateEpoch,
    Record,
    read,
    resumed_record,
)


def test_the_file_holds_what_was_recorded_and_is_read_again(tmp_path):
    record = Record()
    record.add([row(0, 0, 0.25), GateEpoch(0, 1, "1x1", {"psi_mean": 0.5})])
    record.add([row(1, 0, 1 / 3), GateEpoch(1, 1, "1x1", {"psi_mean": 0.125})])
    record.write(tmp_path / FILE)
    with (tmp_path / FILE).open() as file:
        lines = list(csv.DictReader(file))
    assert tuple(lines[0]) == COLUMNS
    assert [(line["epoch"], line["gate"], line["zeros"]) for line in lines] == [
        ("0", "gates.0", "0.25"),
        ("0", "gates.1", ""),
        ("1", "gates.0", "0.333333"),
        ("1", "gates.1", ""),
    ]
    again = read(tmp_path / FILE)
    assert [(r.epoch, r.gate, r.stride) for r in again.rows] == [(r.epoch, r.gate, r.stride) for r in record.rows]
    assert again.rows[1].values == {"psi_mean": 0.5}
    assert os.listdir(tmp_path) == [FILE]


def test_an_epoch_that_is_run_again_replaces_what_was_recorded_of_it(tmp_path):
    record = history(0.1, 0.2, 0.3, 0.4)
    record.write(tmp_path / FILE)
    resumed, problem = resumed_record(tmp_path, 2)
    assert problem is None
    assert [r.epoch for r in resumed.rows] == [0, 1]
    resumed.add([row(2, 0, 0.9)])
    assert [(r.epoch, r.values["zeros"]) for r in resumed.rows] == [(0, 0.1), (1, 0.2), (2, 0.9)]
    record.add([row(1, 0, 0.7)])
    assert [r.epoch for r in record.rows] == [0, 1]


def test_a_training_from_the_start_begins_a_record_of_its_own(tmp_path):
    assert resumed_record(tmp_path, 5) == (Record(), None)
    history(0.1, 0.2).write(tmp_path / FILE)
    assert resumed_record(tmp_path, 0) == (Record(), None)


def test_a_damaged_record_is_put_aside_not_lost(tmp_path):
    history(0.1, 0.2).write(tmp_path / FILE)
    damaged = (tmp_path / FILE).read_text()[:-30]
    (tmp_path / FILE).write_text(damaged)
    record, problem = resumed_record(tmp_path, 7)
    assert record.rows == []
    assert "line 3 is cut off or damaged): it is now gates.csv.unreadable, and the record starts at 7" in problem
    assert (tmp_path / "gates.csv.unreadable").read_text() == damaged
    (tmp_path / FILE).write_text(",".join(COLUMNS) + "\n" + 200_000 * "1")  # longer than a field may be: no ValueError
    record, problem = resumed_record(tmp_path, 7)
    assert "it is no table of text: field larger than" in problem
    (tmp_path / FILE).write_text("a,b\n")
    with pytest.raises(ValueError, match="its columns must be epoch, gate, stride, zeros"):
        read(tmp_path / FILE)


def test_a_record_of_0_1_is_read_and_goes_on(tmp_path):
    path = tmp_path / FILE
    old = ",".join(COLUMNS[:14])
    path.write_text(f"{old}\n0,gates.0,2x2{',0.5' * 11}\n")
    record = read(path)
    assert "psi_low" not in record.rows[0].values
    record.add([watched(1, alpha=0.2)])
    record.write(path)
    again = read(path)
    assert again.rows[1].values["alpha"] == 0.2
    assert "psi_low" not in again.rows[0].values
    path.write_text(path.read_text() + f"2,gates.0,2x2{',0.5' * 11},0.1\n")
    with pytest.raises(ValueError, match="line 4 is cut off or damaged"):
        read(path)
