"""What runs cost, and when it is held against the baseline's."""

import json

import pytest
from compare_workspace import counts, status_of, write_run

from nnunet_prosma.command import main
from nnunet_prosma.compare.analysis import by_arm, load
from nnunet_prosma.compare.arms import named
from nnunet_prosma.compare.cost import cost, cost_section
from nnunet_prosma.compare.plots import curves
from nnunet_prosma.host.runs import read_runs
from nnunet_prosma.host.trained import read_trained


def costs(root, *debugs):
    """Of runs of 30 epochs, the second at twice the time of the first."""
    found = []
    for number, debug in enumerate(debugs):
        folder = write_run(
            root, "AB"[number], {"0": {"x": {1: counts(0.8)}}}, epochs=30, seconds=2.0 * (number + 1), debug=debug
        )
        found.append(cost(read_trained(folder), ["0"]))
    return found


@pytest.mark.parametrize(
    ("first", "second", "shown"),
    [
        ("A100", "A100", "4.0 s (+100.0 %)"),
        ("A100", "H200", "4.0 s"),
        ("", "", "4.0 s"),
    ],
    ids=["one device", "two devices", "unknown devices"],
)
def test_times_are_held_against_each_other_only_on_a_device_that_is_known_to_be_one(tmp_path, first, second, shown):
    found = costs(tmp_path, {"gpu_name": first}, {"gpu_name": second})
    (table,) = cost_section(found).tables
    assert table.rows[1][table.header.index("time per epoch")] == shown


@pytest.fixture
def repeated(tmp_path):
    """Two trainings each of A, 30 epochs at 2 s and at 4 s, and of B at 6 s."""
    return [
        write_run(
            tmp_path / str(number),
            trainer,
            {"0": {"x": {1: counts(0.8)}}},
            epochs=30,
            seconds=seconds,
            debug={"gpu_name": gpu},
            dataset_labels={"background": 0, "liver": 1},
        )
        for number, trainer, seconds, gpu in (
            (0, "A", 2.0, "A100"),
            (1, "A", 4.0, "H200"),
            (0, "B", 6.0, "A100"),
            (1, "B", 6.0, "A100"),
        )
    ]


def test_the_cost_of_a_run_is_over_all_its_trainings(repeated, tmp_path):
    words = ["--folders", *map(str, repeated), "--tables-only", "-o", str(tmp_path / "report")]
    assert main(["compare", *words]) == status_of(tmp_path / "report")
    a, b = json.loads((tmp_path / "report" / "summary.json").read_text())["cost"]
    assert (a["run"], a["seconds_per_epoch"], a["timed_epochs"], a["gpu"]) == ("A", 3.0, 58, "A100, H200")
    page = (tmp_path / "report" / "report.md").read_text()
    assert "The version of nnU-Net is not recorded for A, B." in page
    assert (b["run"], b["seconds_per_epoch"], b["timed_epochs"], b["gpu"]) == ("B", 6.0, 58, "A100")


def test_the_curves_of_a_run_are_those_of_all_its_trainings(repeated):
    loaded = by_arm(load(named(read_runs(repeated), [[0, 1], [2, 3]]), ["0"], [], "mm"))
    first = next(curves(loaded))
    (axes,) = first.figure.axes
    assert len(axes.lines) == 2 * (2 + 1)  # each training and their mean, of both runs
    assert "the mean over folds and trainings" in first.about
