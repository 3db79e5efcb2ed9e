"""Slices are drawn as radiologists look at them, whatever the order and sense of a file's axes."""

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from nnunetv2.imageio.nibabel_reader_writer import NibabelIO, NibabelIOWithReorient
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO, SimpleITKIOWithReorient

from nnunet_prosma.host.directions import directions
from nnunet_prosma.report.orientation import display, lettered

LEFT, FRONT, HEAD = 1, 2, 3
CODES = ("LPS", "RAS", "LAS", "RPI", "ASR", "SLP", "PIR")
"""As ITK says it: where each axis of the file goes to."""
READERS = (SimpleITKIO, SimpleITKIOWithReorient, NibabelIO, NibabelIOWithReorient)


def patient(path, code):
    """A body whose left, front and head are marked, in a file with axes that go where the code says."""
    body = np.zeros((12, 14, 16), np.uint8)  # z y x of an LPS image
    body[4:8, 5:9, 13:15] = LEFT
    body[4:8, 0:3, 6:10] = FRONT
    body[10:12, 5:9, 6:10] = HEAD
    image = sitk.GetImageFromArray(body)
    image.SetSpacing((1.0, 1.0, 1.0))
    sitk.WriteImage(sitk.DICOMOrient(image, code), str(path))


def centre(plane, value):
    where = np.argwhere(plane == value)
    return where.mean(0) / plane.shape if len(where) else None


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("code", CODES)
def test_left_is_right_and_front_is_up_however_the_file_is_turned(tmp_path, reader, code):
    patient(tmp_path / "body.nii.gz", code)
    volume, properties = reader().read_images([str(tmp_path / "body.nii.gz")])
    view = display(volume.shape[1:], properties["spacing"], directions(properties))
    assert (view.plane, view.letters) == ("axial", ("R", "L", "A", "P"))
    slices = [view.cut(volume[0], n) for n in range(volume.shape[1 + view.axis])]
    middle = next(s for s in slices if (s == LEFT).any())
    assert middle.shape == (14, 16)
    assert centre(middle, LEFT)[1] > 0.8
    assert centre(middle, FRONT)[0] < 0.2


@pytest.mark.parametrize(
    ("thick", "plane", "letters"), [(0, "sagittal", ("A", "P", "S", "I")), (1, "coronal", ("R", "L", "S", "I"))]
)
def test_thick_slices_are_drawn_head_up(tmp_path, thick, plane, letters):
    patient(tmp_path / "body.nii.gz", "RAS")
    volume, properties = SimpleITKIO().read_images([str(tmp_path / "body.nii.gz")])
    spacing = [1.0, 1.0, 1.0]
    spacing[2 - thick] = 5.0
    view = display(volume.shape[1:], spacing, directions(properties))
    assert (view.plane, view.letters) == (plane, letters)
    shown = [view.cut(volume[0], n) for n in range(volume.shape[1 + view.axis])]
    heads = [centre(s, HEAD) for s in shown if (s == HEAD).any()]
    assert max(h[0] for h in heads) < 0.2
    side, at = (FRONT, 0.2) if plane == "sagittal" else (LEFT, 0.8)
    sides = [centre(s, side) for s in shown if (s == side).any()]
    assert all((c[1] < at) if plane == "sagittal" else (c[1] > at) for c in sides)


@pytest.mark.parametrize(
    ("matrix", "letters"),
    [
        (np.eye(3), ("R", "L", "A", "P")),
        (np.diag([-1, -1, 1]), ("R", "L", "A", "P")),
        # turned by 30 degrees about the long axis: what was left leads left and back
        ([[0.866, -0.5, 0], [0.5, 0.866, 0], [0, 0, 1]], ("RA", "LP", "AL", "PR")),
        # by 10 degrees: near enough to need one letter
        ([[0.985, -0.174, 0], [0.174, 0.985, 0], [0, 0, 1]], ("R", "L", "A", "P")),
    ],
)
def test_letters_of_known_matrices(matrix, letters):
    """The matrix as ITK has it: column k is where axis k of the file goes, in left, posterior, superior."""
    found = directions({"sitk_stuff": {"direction": tuple(np.asarray(matrix, float).ravel())}})
    view = display((5, 6, 7), (1, 1, 1), found)
    assert view.letters == letters
    assert view.axes == (0, 1, 2)


def test_an_affine_of_nibabel_is_right_anterior_superior():
    affine = nibabel.affines.from_matvec(np.diag([2, 3, 4]), [0, 0, 0])
    found = directions({"nibabel_stuff": {"original_affine": affine}})
    assert np.array_equal(found, [[0, 0, 1], [0, -1, 0], [-1, 0, 0]])
    assert [lettered(row) for row in found] == ["S", "A", "R"]


def test_what_has_no_direction_is_drawn_as_it_is_stored_without_letters():
    volume = np.arange(24).reshape(1, 4, 6)
    for properties in ({}, {"sitk_stuff": {"direction": (1.0, 0.0, 0.0, 1.0)}}):
        view = display(volume.shape, (999, 1, 2), directions(properties))
        assert view.letters is None
        assert np.array_equal(view.cut(volume, 0), volume[0])
        assert view.aspect == 0.5
