"""What runs cost, and when it is held against the baseline's."""

import pytest
from compare_workspace import counts, write_run

from nnunet_prosma.compare.cost import cost, cost_section
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
