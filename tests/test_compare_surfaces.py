"""Surface metrics of masks whose surfaces can be counted by hand."""

import math

import numpy as np
import pytest

from nnunet_prosma.compare.surfaces import drop_flat_axis, surface_metrics


def voxel(shape, *place):
    mask = np.zeros(shape, bool)
    mask[place] = True
    return mask


PAIRS = {
    "2D": (voxel((5, 9), 2, 2), voxel((5, 9), 2, 5), (1.0, 1.0), 1.0),
    "2D anisotropic": (voxel((5, 9), 2, 2), voxel((5, 9), 2, 5), (0.5, 2.0), 2.0),
    "3D": (voxel((5, 5, 9), 2, 2, 2), voxel((5, 5, 9), 2, 2, 5), (1.0, 1.0, 1.0), 1.0),
    "3D anisotropic": (voxel((9, 5, 5), 2, 2, 2), voxel((9, 5, 5), 5, 2, 2), (3.0, 0.7, 0.7), 3.0),
}
"""Two voxels three apart along one axis: half of each surface's corners is 2 steps from the other surface, half 3."""


@pytest.mark.parametrize("name", PAIRS)
def test_two_voxels_three_apart_are_two_to_three_steps_from_each_other(name):
    truth, prediction, spacing, step = PAIRS[name]
    assert surface_metrics(truth, prediction, spacing, 0)[1] == pytest.approx(3 * step)


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize(("steps", "share"), [(1.99, 0.0), (2.0, 0.5), (2.99, 0.5), (3.0, 1.0)])
def test_the_share_of_the_surface_within_the_tolerance_is_that_of_its_corners(name, steps, share):
    truth, prediction, spacing, step = PAIRS[name]
    assert surface_metrics(truth, prediction, spacing, steps * step)[0] == pytest.approx(share)


def test_equal_masks_have_no_distance_and_whole_agreement_also_at_the_border_of_the_image():
    mask = np.ones((3, 4, 5), bool)
    assert surface_metrics(mask, mask, (1, 1, 1), 0) == (1.0, 0.0)


def test_one_percent_of_the_surface_far_away_does_not_move_the_95_percent_distance():
    truth = np.zeros((60, 60), bool)
    truth[5:55, 5:30] = True
    prediction = truth.copy()
    prediction[30, 55] = True  # one pixel far off: 4 of about 150 corners
    assert surface_metrics(truth, prediction, (1, 1), 1)[1] == 0


NOTHING, SOMETHING = np.zeros((4, 4), bool), voxel((4, 4), 1, 1)


@pytest.mark.parametrize(
    ("truth", "prediction", "nsd", "hd95"),
    [
        (NOTHING, NOTHING, math.nan, math.nan),
        (NOTHING, SOMETHING, math.nan, math.inf),
        (SOMETHING, NOTHING, 0.0, math.inf),
    ],
    ids=["both empty", "only truth empty", "only prediction empty"],
)
def test_empty_masks_have_no_finite_distance(truth, prediction, nsd, hd95):
    assert surface_metrics(truth, prediction, (1, 1), 1) == pytest.approx((nsd, hd95), nan_ok=True)


def test_a_2d_image_that_nnunet_reads_as_one_slice_is_measured_in_its_plane():
    flat, spacing = drop_flat_axis(np.zeros((1, 4, 6)), (999.0, 0.5, 0.7))
    assert flat.shape == (4, 6)
    assert spacing == [0.5, 0.7]
