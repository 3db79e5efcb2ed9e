"""What inspect draws, and the files that let ITK-SNAP and 3D Slicer name and colour a segmentation."""

import matplotlib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hand_built import plans

from nnunet_prosma.host.dataset_json import Dataset
from nnunet_prosma.host.plans import Plans, Setup
from nnunet_prosma.inspect.case import by_region
from nnunet_prosma.inspect.figure import RIGHT, STRENGTH, WRONG, judged, most_different, render
from nnunet_prosma.inspect.measure import Channel, GateRow
from nnunet_prosma.inspect.slices import choose
from nnunet_prosma.inspect.viewers import codes, write_for_slicer, write_label_descriptions


def gate(number, inside, outside, rim=None):
    psi = {"all": 0.5, "prediction_inside": inside, "prediction_rim": rim, "prediction_outside": outside}
    return GateRow("case", number, "1x1x1", 0.374, 0.1, psi, [Channel("", 0, 0.4)])


def test_the_gates_that_differ_most_between_inside_and_outside_are_drawn_in_their_order():
    rows = [gate(0, 0.5, 0.5), gate(1, 0.9, 0.1), gate(2, 0.6, 0.5), gate(3, None, 0.2, rim=0.9), gate(4, 0.5, 0.52)]
    assert [row.gate for row in most_different(rows)] == [1, 2, 3]
    assert [row.gate for row in most_different(rows[:2])] == [0, 1]
    nothing = [gate(n, None, 0.5) for n in range(5)]
    assert [row.gate for row in most_different(nothing)] == [0, 1, 2]


def test_right_missed_and_wrong_have_colours_of_their_own_and_the_rest_is_the_image():
    picture = np.full((1, 5), 0.4)
    prediction, truth = np.array([[0, 1, 0, 1, 2]]), np.array([[0, 1, 1, 0, 1]])
    shown = judged(picture, prediction, truth)[0]
    assert shown[0] == pytest.approx(0.4)
    assert len({tuple(voxel) for voxel in shown}) == 4
    assert np.array_equal(shown[3], shown[4])  # another label is as wrong as no label


def test_psi_is_drawn_without_outlines_unless_they_are_asked_for():
    prediction = np.zeros((1, 30, 30), int)
    prediction[0, 10:20, 10:20] = 1
    view = choose(prediction, None, np.ones(prediction.shape, bool), (999, 1, 1))
    cuts = {"prediction": view.of(prediction)}
    psi = {0: [np.full(cuts["prediction"][0].shape, 0.5)]}
    image = [np.zeros(cuts["prediction"][0].shape)]
    plain, outlined = (render("case", view, image, cuts, psi, [gate(0, 0.5, 0.5)], o) for o in (False, True))
    assert plain != outlined


def test_slices_are_turned_by_the_images_directions():
    """An image whose axes go right, anterior, superior, as nnU-Net's example CT: it would stand on its head."""
    prediction = np.zeros((9, 40, 40), np.uint8)
    prediction[4, 30:34, 5:9] = 1  # front, and to the left
    ras = np.array([[0, 0, 1], [0, -1, 0], [-1, 0, 0]], float)
    view = choose(prediction, None, np.ones(prediction.shape, bool), (1, 1, 1), ras)
    assert view.display.letters == ("R", "L", "A", "P")
    cut = view.display.cut(prediction, 4)
    rows, columns = np.nonzero(cut)
    assert rows.max() < 20 < columns.min()
    assert view.of(prediction)[0].any()


REGIONS = {"background": 0, "whole": [1, 2, 3], "core": [2, 3]}


def dataset(labels, **more):
    content = {"labels": labels, "file_ending": ".nii.gz", "channel_names": {"0": "CT"}, "numTraining": 1, **more}
    return Dataset.of(content, "dataset.json")


def test_a_region_has_the_number_that_the_predictions_file_holds():
    found = codes(dataset(REGIONS, regions_class_order=[1, 2]))
    assert {number: name for number, (name, _) in found.items()} == {1: "whole", 2: "core"}
    found = codes(dataset({"background": 0, "b": 2, "a": 1}))
    assert {number: name for number, (name, _) in found.items()} == {1: "a", 2: "b"}


def test_itk_snap_gets_a_line_of_eight_fields_for_each_label(tmp_path):
    file = write_label_descriptions(tmp_path, dataset({"background": 0, 'the "liver"': 1, "tumour": 2}))
    lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
    fields = [line.split(maxsplit=7) for line in lines]
    assert [f[0] for f in fields] == ["0", "1", "2"]
    assert [f[7] for f in fields] == ['"Clear Label"', "\"the 'liver'\"", '"tumour"']
    assert all(0 <= int(v) <= 255 for f in fields for v in f[1:4])
    assert fields[0][4:7] == ["0", "0", "0"]


def test_slicer_gets_names_colours_and_the_same_place_in_space(tmp_path):
    array = np.zeros((4, 5, 6), np.uint8)
    array[1:3, 2:5, 5] = 2
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.7, 1.1, 2.3))
    image.SetOrigin((-3, 4, 5))
    image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    sitk.WriteImage(image, str(tmp_path / "case.nii.gz"))
    described = dataset({"background": 0, "liver": 1, "tumour": 2})
    path = write_for_slicer(tmp_path / "case.nii.gz", described, {"sitk_stuff": {}})
    assert path == tmp_path / "case.seg.nrrd"
    read = sitk.ReadImage(str(path))
    assert np.array_equal(sitk.GetArrayFromImage(read), array)
    for part in ("Spacing", "Origin", "Direction"):
        assert getattr(read, f"Get{part}")() == pytest.approx(getattr(image, f"Get{part}")(), abs=1e-5)
    told = {key: read.GetMetaData(key) for key in read.GetMetaDataKeys() if key.startswith("Seg")}
    assert told["Segment1_Name"] == "tumour"
    assert told["Segment1_LabelValue"] == "2"
    assert told["Segment1_Extent"] == "5 5 2 4 1 2"
    assert told["Segment0_Extent"] == "0 -1 0 -1 0 -1", "nothing of it is there"
    assert told["Segmentation_SourceRepresentation"] == told["Segmentation_MasterRepresentation"] == "Binary labelmap"
    assert all(0 <= float(v) <= 1 for v in told["Segment0_Color"].split())


def test_a_flat_picture_is_no_segmentation_for_slicer(tmp_path):
    assert write_for_slicer(tmp_path / "a.png", dataset({"background": 0, "a": 1}), {"spacing": (999, 1, 1)}) is None


def test_what_lies_in_the_same_regions_is_right_whatever_code_the_truth_has():
    """Whole is 1, 2 and 3, core is 2 and 3; nnU-Net answers 1 for whole and 2 for core, and never 3."""
    dataset = {
        "channel_names": {"0": "MR"},
        "labels": {"background": 0, "whole": [1, 2, 3], "core": [2, 3]},
        "regions_class_order": [1, 2],
        "numTraining": 1,
        "file_ending": ".nii.gz",
    }
    setup = Setup(Plans.of(plans(3, [8, 8, 8]), "plans.json"), "3d_fullres", Dataset.of(dataset, "dataset.json"))
    truth, answer = np.array([[0, 1, 2, 3, 3, 0]]), np.array([[0, 1, 2, 2, 1, 1]])
    shown = judged(np.zeros(truth.shape), by_region(answer, setup), by_region(truth, setup))
    colours = {n: STRENGTH * np.array(matplotlib.colors.to_rgb(c)) for n, c in (("right", RIGHT), ("wrong", WRONG))}
    found = ["none" if not v.any() else next(n for n, c in colours.items() if np.allclose(v, c)) for v in shown[0]]
    assert found == ["none", "right", "right", "right", "wrong", "wrong"]
