"""What inspect counts and chooses, on arrays that can be counted by hand."""

import numpy as np
import pytest
import torch

from nnunet_prosma.gate import GateFields
from nnunet_prosma.inspect.measure import Channel, GateRow, regions
from nnunet_prosma.inspect.slices import choose
from nnunet_prosma.inspect.tally import GateTally


def test_a_region_has_an_inside_a_rim_and_an_outside():
    mask = np.zeros((1, 7, 7), bool)
    mask[0, 2:5, 0:3] = True  # at the image's edge, which is no border
    counted = np.ones_like(mask)
    counted[0, :, 6] = False
    parts = regions(mask, counted)
    inside = np.zeros_like(mask)
    inside[0, 3, 0:2] = True
    assert np.array_equal(parts["inside"], inside)
    assert parts["rim"].sum() == 9 - 2 + 3 + 3 + 3  # of the mask, and across its three faces
    assert parts["outside"].sum() == 7 * 6 - 2 - 16


def test_counts_leave_the_padding_out_and_means_are_over_passes():
    z = torch.zeros(1, 2, 4, 4)
    z[:, 0, 1:3, 1:3] = torch.tensor([[1.0, -1.0], [0.0, 2.0]])
    tally = GateTally()
    for c in (0.2, 0.4):
        tally.add(GateFields(psi=None, c=torch.full((1, 3, 1, 1), c), u=z, lam=None, z=z), [1, 1])
    assert (tally.zeros, tally.elements, tally.unsupported, tally.voxels) == (2 * 5, 2 * 8, 2 * 1, 2 * 4)
    assert tally.mean_c() == pytest.approx([0.3] * 3)


def test_slices_are_counted_along_the_thick_axis_and_are_those_that_matter():
    prediction = np.zeros((20, 12, 30), np.uint8)
    prediction[5:15, 3:9, 10:20] = 1
    prediction[9, 2:10, 8:22] = 1
    truth = prediction.copy()
    truth[12] = 0
    counted = np.ones(prediction.shape, bool)
    view = choose(prediction, truth, counted, (5.0, 1.0, 0.5))
    assert view.axis == 0
    assert view.shown == {6: "towards one end", 9: "most segmented", 12: "most error"}
    assert view.aspect == 2
    assert choose(prediction, None, counted, (0.5, 0.5, 2.0)).axis == 2
    nothing = choose(np.zeros_like(prediction), None, counted, (1, 1, 1))
    assert nothing.shown == {9: "the middle: nothing is segmented"}
    assert choose(prediction[9:10], None, counted[9:10], (999, 1, 1)).shown == {0: ""}


def test_extremes_are_named_by_fold_where_there_are_several():
    channels = [Channel("0", number, number / 10) for number in range(8)]
    row = GateRow("a", 0, "1", None, None, {}, channels)
    assert [c.channel for c in row.most_closed] == [0, 1, 2, 3, 4]
    assert [c.channel for c in row.most_open] == [7, 6, 5, 4, 3]
    assert GateRow("a", 0, "1", None, None, {}, []).c_mean is None
