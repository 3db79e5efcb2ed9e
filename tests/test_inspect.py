"""nnunet-prosma inspect on models whose gates are set by hand, so that what must be shown is known."""

import json
import time

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from browser import CHROMIUM, Browser
from hand_built import half_bright, plans, write_image, write_model
from inspected import CLOSED, ODD, OPEN, inspect, read, table

pytestmark = pytest.mark.filterwarnings("ignore:The given NumPy array is not writable:UserWarning")


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    """An image half bright, in windows that slide along two axes: what is bright is kept, the rest removed."""
    folder = tmp_path_factory.mktemp("half")
    model = write_model(folder / "results", plans(3, [8, 8, 16]))
    image = half_bright((12, 20, 16))
    write_image(folder / "images" / "case_0000.nii.gz", image)
    truth = np.zeros(image.shape, np.uint8)
    truth[..., 10:] = 1
    write_image(folder / "labels" / "case.nii.gz", truth)
    inspect(model, folder / "images", folder / "out", "-gt", folder / "labels", "--support")
    return folder


def test_the_half_that_is_kept_is_shown_kept_and_is_what_is_predicted(half):
    psi = read(half / "out" / "maps" / "case_psi_gate0.nii.gz")
    assert psi.dtype == np.float32
    np.testing.assert_allclose(psi[..., 8:], OPEN, atol=2e-3)
    np.testing.assert_allclose(psi[..., :8], CLOSED, atol=1e-4)
    assert np.array_equal(read(half / "out" / "segmentations" / "case.nii.gz"), half_bright((12, 20, 16)) > 0)
    support = read(half / "out" / "maps" / "case_support_gate0.nii.gz")
    np.testing.assert_allclose(support, np.where(half_bright((12, 20, 16)) > 0, 1 / 8, 0), atol=1e-3)


def test_the_numbers_are_those_counted_by_hand(half):
    """Of eight latent channels one survives in the bright half: 15 of 16 are zero. The rim is the two planes at the
    border, one of each half; of the truth, which begins two planes further, both are bright."""
    (row,) = table(half / "out")
    assert (row["case"], row["gate"], row["stride"]) == ("case", "gates.0", "1x1x1")
    assert float(row["zeros"]) == pytest.approx(15 / 16)
    assert float(row["unsupported"]) == pytest.approx(1 / 2)
    expected = {
        "all": (OPEN + CLOSED) / 2,
        "prediction_inside": OPEN,
        "prediction_rim": (OPEN + CLOSED) / 2,
        "prediction_outside": CLOSED,
        "truth_inside": OPEN,
        "truth_rim": OPEN,
        "truth_outside": (OPEN + 8 * CLOSED) / 9,
    }
    assert {name: float(row[f"psi_{name}"]) for name in expected} == pytest.approx(expected, abs=2e-3)
    assert row["most_closed"].split() == ["3=0.1000", "0=0.5000", "1=0.5000", "2=0.9000"]
    assert row["most_open"].split() == ["2=0.9000", "0=0.5000", "1=0.5000", "3=0.1000"]
    assert float(row["c_mean"]) == pytest.approx(0.5)
    whole = json.loads((half / "out" / "gates.json").read_text())
    assert whole["gates"][0]["zeros"] == pytest.approx(15 / 16)
    assert [entry["c"] for entry in whole["gates"][0]["c"]] == pytest.approx([0.5, 0.5, 0.9, 0.1])
    assert (whole["folds"], whole["mirroring"], whole["configuration"]) == (["0"], True, "3d_fullres")


def test_a_second_run_writes_the_same_files(half):
    inspect(next(half.glob("results/*/*")), half / "images", half / "again", "-gt", half / "labels", "--support")
    for path in (half / "out").rglob("*"):
        if path.is_file():
            assert (half / "again" / path.relative_to(half / "out")).read_bytes() == path.read_bytes(), path
    assert len(list((half / "again").rglob("*"))) == len(list((half / "out").rglob("*"))) == 13


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium")
def test_the_page_fits_a_phone_and_complains_of_nothing(half, tmp_path):
    with Browser(tmp_path / "profile") as browser:
        for width in (360, 1280):
            browser.open(half / "out" / "index.html", width)
            assert browser.overflowing() == []
            browser.ask("document.querySelectorAll('details').forEach(d => d.open = true)")
            assert browser.overflowing() == []
            browser.ask("[...document.images].forEach(i => i.loading = 'eager')")
            loaded = "[...document.images].every(i => i.complete && i.naturalWidth > 100)"
            assert any(browser.ask(loaded) or time.sleep(0.1) for _ in range(100))
        assert browser.ask("document.querySelectorAll('table').length") == 2
        broken = "[...document.links].map(l => l.href).filter(h => h.startsWith('file:') === false)"
        assert browser.ask(broken) == []
        assert browser.problems == []


READERS = ("SimpleITKIO", "SimpleITKIOWithReorient", "NibabelIO", "NibabelIOWithReorient")


@pytest.mark.parametrize("reader", READERS)
def test_a_map_lies_on_its_image_turned_oddly_spaced_and_far_from_the_origin(tmp_path, reader):
    """Resampled, and with the axes transposed for the network, as nnU-Net does."""
    planned = plans(
        3,
        [16, 16, 16],
        spacing=[1.6, 1.0, 0.9],
        transpose_forward=[1, 0, 2],
        transpose_backward=[1, 0, 2],
        image_reader_writer=reader,
    )
    model = write_model(tmp_path / "results", planned)
    image = write_image(tmp_path / "images" / "case_0000.nii.gz", half_bright((8, 14, 20)), **ODD)
    inspect(model, tmp_path / "images", tmp_path / "out", "--disable_tta")
    shown = sitk.ReadImage(str(tmp_path / "out" / "maps" / "case_psi_gate0.nii.gz"))
    assert shown.GetSize() == image.GetSize()
    for part in ("Spacing", "Origin", "Direction"):
        assert getattr(shown, f"Get{part}")() == pytest.approx(getattr(image, f"Get{part}")(), abs=1e-5)
    psi = sitk.GetArrayFromImage(shown)
    assert psi[..., 11:].min() > 0.99  # but for the plane on either side of the border, where resampling mixes
    assert psi[..., :9].max() < 0.01
    segmentation = sitk.ReadImage(str(tmp_path / "out" / "segmentations" / "case.nii.gz"))
    assert segmentation.GetOrigin() == pytest.approx(shown.GetOrigin(), abs=1e-5)


def test_a_flat_image_has_a_flat_map(tmp_path):
    model = write_model(tmp_path / "results", plans(2, [16, 16]))
    flat = {"spacing": (0.5, 0.75), "origin": (3.0, -4.0)}
    image = write_image(tmp_path / "images" / "case_0000.nii.gz", half_bright((1, 12, 20))[0], **flat)
    inspect(model, tmp_path / "images", tmp_path / "out")
    shown = sitk.ReadImage(str(tmp_path / "out" / "maps" / "case_psi_gate0.nii.gz"))
    assert (shown.GetSize(), shown.GetSpacing(), shown.GetOrigin()) == (image.GetSize(), *flat.values())
    psi = sitk.GetArrayFromImage(shown)
    assert psi[:, 11:].min() > 0.99
    assert psi[:, :9].max() < 0.01


def test_where_nnunet_cropped_the_image_away_a_map_is_zero_and_is_not_counted(tmp_path):
    model = write_model(tmp_path / "results", plans(3, [8, 8, 8]))
    image = np.zeros((10, 12, 14), np.float32)
    image[1:9, 2:10, 3:11] = 1
    write_image(tmp_path / "images" / "case_0000.nii.gz", image)
    inspect(model, tmp_path / "images", tmp_path / "out")
    psi = read(tmp_path / "out" / "maps" / "case_psi_gate0.nii.gz")
    assert np.array_equal(psi == 0, image == 0)
    (row,) = table(tmp_path / "out")
    assert float(row["psi_all"]) == pytest.approx(OPEN, abs=2e-3)
    assert row["psi_prediction_outside"] == ""


def test_what_pads_an_image_smaller_than_the_patch_is_not_counted(tmp_path):
    model = write_model(tmp_path / "results", plans(3, [16, 16, 16]))
    write_image(tmp_path / "images" / "case_0000.nii.gz", np.ones((9, 16, 13), np.float32))
    inspect(model, tmp_path / "images", tmp_path / "out")
    (row,) = table(tmp_path / "out")
    assert (float(row["zeros"]), float(row["unsupported"])) == (7 / 8, 0)


def test_several_folds_are_averaged_as_the_logits_are_and_their_channels_kept_apart(tmp_path):
    """The second fold's gate is closed everywhere."""
    model = write_model(tmp_path / "results", plans(3, [8, 8, 16]), folds=2)
    write_image(tmp_path / "images" / "case_0000.nii.gz", half_bright((8, 8, 16)))
    inspect(model, tmp_path / "images", tmp_path / "out", "-f", "0", "1")
    psi = read(tmp_path / "out" / "maps" / "case_psi_gate0.nii.gz")
    np.testing.assert_allclose(psi[..., 8:], (OPEN + CLOSED) / 2, atol=2e-3)
    (row,) = table(tmp_path / "out")
    assert row["most_closed"].split()[:2] == ["0:3=0.1000", "1:3=0.1000"]


@pytest.mark.parametrize(
    ("trainer", "has", "lacks"),
    [
        ("nnUNetTrainerProSMA_spatialOnly", {"zeros", "psi_all"}, {"c_mean", "most_open"}),
        ("nnUNetTrainerProSMA_channelOnly", {"c_mean", "most_open"}, {"zeros", "unsupported", "psi_all"}),
        ("nnUNetTrainerAttentionGate", {"psi_all"}, {"zeros", "unsupported", "c_mean", "most_open"}),
    ],
)
def test_of_an_ablation_and_of_the_dense_gate_what_there_is_is_shown(tmp_path, trainer, has, lacks):
    by_hand = trainer != "nnUNetTrainerAttentionGate"
    model = write_model(tmp_path / "results", plans(3, [8, 8, 16]), trainer=trainer, by_hand=by_hand)
    write_image(tmp_path / "images" / "case_0000.nii.gz", half_bright((8, 8, 16)))
    inspect(model, tmp_path / "images", tmp_path / "out", "--disable_tta", "--support")
    (row,) = table(tmp_path / "out")
    assert all(row[name] for name in has)
    assert not any(row[name] for name in lacks)
    assert (tmp_path / "out" / "maps").exists() == ("psi_all" in has)
    assert (tmp_path / "out" / "figures" / "case.png").stat().st_size > 5000
