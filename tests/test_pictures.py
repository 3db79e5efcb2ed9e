"""The pictures of a comparison: which slice, what is painted in which colour, what is black."""

import io

import numpy as np
import pytest
from PIL import Image
from skimage.io import imsave

from nnunet_prosma.compare.pictures import Masks, crop, most_different, render
from nnunet_prosma.report.orientation import display
from nnunet_prosma.report.overlay import colours, painted
from nnunet_prosma.report.shade import greys, in_colour, shaded

FLAT = display((5, 4, 4), (1, 1, 1), None)


def masks(truth, a, b, ignored=None, view=FLAT):
    return Masks([truth, a, b], np.zeros(a.shape, bool) if ignored is None else ignored, view)


def volumes(count=3, shape=(5, 4, 4)):
    return np.zeros((count, *shape), int)


def test_the_slice_shown_is_the_one_where_the_answers_differ_most():
    truth, a, b = volumes()
    b[3, :2, 0] = 1
    b[1, 0, 0] = 1
    assert most_different(masks(truth, a, b), [1]) == 3
    assert most_different(masks(truth, a, a), [1]) == 2


def test_a_difference_where_the_truth_is_ignored_counts_for_nothing_in_the_choice():
    truth, a, b = volumes()
    truth[3] = 9
    b[3] = 1
    b[1, 0, 0] = 1
    assert most_different(masks(truth, a, b, truth == 9), [1]) == 1


def test_slices_are_chosen_along_the_axis_that_they_are_drawn_along():
    truth, a, b = volumes(shape=(6, 7, 8))
    b[:, :, 5] = 1
    sagittal = display((6, 7, 8), (1, 1, 4), np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]], float))
    assert most_different(masks(truth, a, b, view=sagittal), [1]) == 5


def test_labels_that_are_not_compared_do_not_count():
    truth, a, b = volumes()
    b[3] = 7
    b[1, 0, 0] = 1
    assert most_different(masks(truth, a, b), [1]) == 1


def test_a_picture_shows_what_is_segmented_and_its_surroundings():
    mask = np.zeros((100, 100), bool)
    mask[40:60, 10:14] = True
    assert crop(mask) == (slice(27, 73), slice(1, 23))


def test_truth_and_answers_of_regions_are_painted_alike_the_part_over_the_whole():
    codes = np.array([[0, 1, 2, 3]])
    keys = [(1, 2, 3), (2, 3), (3,)]
    shown = painted(np.zeros(codes.shape), codes, keys)
    found = colours(keys)
    assert np.array_equal(shown[0, 0], [0, 0, 0])
    for voxel, key in zip(shown[0, 1:], keys, strict=True):
        assert voxel == pytest.approx(0.55 * np.array(found[key]))
    again = painted(np.zeros(codes.shape), codes, keys[::-1])
    assert np.array_equal(again[0, 3] > 0, painted(np.zeros(codes.shape), codes, [(3,), (1, 2, 3)])[0, 3] > 0)
    assert len({tuple(voxel) for voxel in again[0, 1:]}) == 3


def opened(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def test_what_is_ignored_is_hatched_and_named_so():
    truth, a, b = volumes(shape=(1, 40, 40))
    truth[0, 12:] = 9
    truth[0, 5:10, 5:10] = a[0, 5:10, 5:10] = 1
    view = display(truth.shape, (999, 1, 1), None)
    plain = opened(render(None, masks(truth * (truth == 1), a, b, view=view), 0, "abcd", {1: "x"}))
    ignored = truth == 9
    hatched = opened(render(None, masks(truth, a, b, ignored, view), 0, "abcd", {1: "x"}))
    yellow = [np.all(abs(p - [0xF0, 0xE4, 0x42]) < 40, -1).sum() for p in (plain, hatched)]
    assert yellow[0] == 0
    assert yellow[1] > 300


def test_long_names_of_labels_and_runs_are_cut_at_no_edge():
    truth, a, b = volumes(shape=(1, 40, 40))
    for label in (1, 2, 3):
        truth[0, 10 * label : 10 * label + 6, 10:30] = label
    labels = {1: "left ventricular myocardium", 2: "whole tumour and oedema", 3: "pancreatic duct, main"}
    titles = ["image", "ground truth", "nnUNetTrainer__nnUNetPlans__3d_fullres", "TotalSegmentatorLikeTool"]
    shown = opened(render(None, masks(truth, a, b, view=display(truth.shape, (999, 1, 1), None)), 0, titles, labels))
    assert (shown[-50:, -2:] > 200).all()
    assert (shown[:1] > 200).all()


def test_a_cropped_window_holds_no_answer_that_is_ignored():
    """An answer that fills what is ignored would make the window the whole image."""
    truth, a, b = volumes(shape=(1, 200, 200))
    truth[0, 5:10, 5:10] = 1
    truth[0, 100:] = 9
    b[0, 100:] = 1
    view = display(truth.shape, (999, 1, 1), None)
    shown = render(None, masks(truth, a, b, truth == 9, view), 0, "abcd", {1: "x"})
    alone = render(None, masks(truth * (truth < 9), a, a, None, view), 0, "abcd", {1: "x"})
    assert np.array_equal(opened(shown), opened(alone))


def test_the_background_of_a_z_scored_brain_is_black():
    rng = np.random.default_rng(0)
    image = np.zeros((20, 20, 20))
    image[5:15, 5:15, 5:15] = rng.normal(0, 1, (10, 10, 10))
    grey = greys(image)
    assert grey[0].max() == 0
    assert 0.3 < np.median(grey[5:15, 5:15, 5:15]) < 0.7


def test_without_one_value_around_the_darkest_is_black():
    image = np.random.default_rng(0).normal(0, 1, (20, 20, 20))
    grey = greys(image)
    assert grey.min() == 0
    assert grey.max() == 1
    assert greys(np.full((3, 3, 3), 7.0)).max() == 0


@pytest.mark.parametrize(
    ("names", "properties", "colour"),
    [
        (["R", "G", "B"], {"sitk_stuff": {}}, True),
        (["rgb_to_0_1"] * 3, {"sitk_stuff": {}}, True),
        (["T1", "T2", "FLAIR"], {"sitk_stuff": {}}, False),
        (["x", "y", "z"], {"spacing": (999, 1, 1)}, True),
        (["grey"], {"spacing": (999, 1, 1)}, False),
    ],
)
def test_colours_are_known_by_their_names_or_their_file(names, properties, colour):
    assert in_colour(names, properties) is colour


def test_a_red_picture_is_red(tmp_path):
    from nnunetv2.imageio.natural_image_reader_writer import NaturalImage2DIO

    red = np.zeros((8, 9, 3), np.uint8)
    red[..., 0] = 200
    imsave(tmp_path / "a.png", red, check_contrast=False)
    image, properties = NaturalImage2DIO().read_images([str(tmp_path / "a.png")])
    shown = shaded(image, in_colour("RGB", properties))
    assert shown.shape == (1, 8, 9, 3)
    assert shown[0, 0, 0] == pytest.approx([200 / 255, 0, 0])
