"""nnunet-prosma inspect on models whose gates are set by hand, so that what must be shown is known; and against
nnUNetv2_predict on models with random weights."""

import csv
import json
import re
import time
from math import exp

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch
from browser import CHROMIUM, Browser
from hand_built import half_bright, plans, write_image, write_model
from skimage.io import imread, imsave
from workspace import Workspace

from nnunet_prosma import command
from nnunet_prosma.gate import GateFields
from nnunet_prosma.inspect.measure import Channel, GateRow, regions
from nnunet_prosma.inspect.slices import choose
from nnunet_prosma.inspect.tally import GateTally

pytestmark = pytest.mark.filterwarnings("ignore:The given NumPy array is not writable:UserWarning")
OPEN, CLOSED = 1 / (1 + exp(-10)), 1 / (1 + exp(10))
TURNED = tuple(np.round([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]], 6).ravel())
ODD = {"spacing": (0.7, 1.1, 2.3), "origin": (-12.5, 30.0, 7.25), "direction": TURNED}


def inspect(model, images, out, *options, status=0):
    named = ("-m", model, "-f", "0", "-i", images, "-o", out, "-device", "cpu", "--disable_progress_bar")
    assert command.main(["inspect", *map(str, (*named, *options))]) == status


def table(out):
    with (out / "gates.csv").open() as file:
        return list(csv.DictReader(file))


def read(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


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


# equality with nnU-Net's own prediction


def write_images(folder, rng, size, channels=1, cases=2, ending=".nii.gz"):
    folder.mkdir()
    for number in range(cases):
        for channel in range(channels):
            path = folder / f"case{number}_{channel:04}{ending}"
            if ending == ".png":
                imsave(path, rng.integers(0, 255, size, dtype=np.uint8), check_contrast=False)
            else:
                write_image(path, rng.standard_normal(size).astype(np.float32), **ODD)


def three_d(folder, rng):
    write_images(folder / "images", rng, (11, 20, 17), channels=2)
    planned = plans(3, [8, 8, 8], norm=True, spacing=[2.0, 1.0, 1.0])
    return write_model(folder / "results", planned, channels=2, by_hand=False, folds=2), ["-c", "3d_fullres"]


def slices(folder, rng):
    write_images(folder / "images", rng, (5, 20, 17))
    return write_model(folder / "results", plans(2, [16, 16], norm=True), by_hand=False), ["-c", "2d"]


def colours(folder, rng):
    write_images(folder / "images", rng, (30, 44, 3), ending=".png")
    planned = plans(2, [16, 16], norm=True, image_reader_writer="NaturalImage2DIO")
    return write_model(folder / "results", planned, channels=3, by_hand=False, ending=".png"), ["-c", "2d"]


def cascade(folder, rng):
    write_images(folder / "images", rng, (11, 20, 17))
    (folder / "before").mkdir()
    for number in range(2):
        write_image(folder / "before" / f"case{number}.nii.gz", rng.integers(0, 2, (11, 20, 17), np.uint8), **ODD)
    planned = plans(3, [8, 8, 8], norm=True, previous_stage="3d_lowres")
    model = write_model(folder / "results", planned, by_hand=False)
    return model, ["-c", "3d_fullres", "-prev_stage_predictions", str(folder / "before")]


@pytest.mark.slow
@pytest.mark.parametrize("build", [three_d, slices, colours, cascade])
def test_the_segmentation_is_that_of_nnunetv2_predict(tmp_path, monkeypatch, build):
    model, named = build(tmp_path, np.random.default_rng(0))
    workspace = Workspace(tmp_path)
    folds = ["-f", *sorted(path.name[-1] for path in model.glob("fold_*"))]
    common = ["-d", "9", "-tr", "nnUNetTrainerProSMA", *named, *folds, "-i", tmp_path / "images", "-device", "cpu"]
    predict = [*common, "-o", tmp_path / "predicted", "-npp", "0", "-nps", "0"]
    workspace.run("nnUNetv2_predict", *predict)
    monkeypatch.setenv("nnUNet_results", str(workspace.results))
    out = tmp_path / "out"
    assert command.main(["inspect", *map(str, [*common, "-o", out, "--disable_progress_bar"])]) == 0
    ending = ".png" if build is colours else ".nii.gz"
    for name in ("case0", "case1"):
        theirs, ours = (tmp_path / place / f"{name}{ending}" for place in ("predicted", "out/segmentations"))
        assert theirs.read_bytes() == ours.read_bytes()
        values = imread(ours) if build is colours else read(ours)
        assert 0 < values.mean() < 1  # both classes are there, so that equality means something
        psi = imread(out / "maps" / f"{name}_psi_gate0{ending}") if build is colours else None
        if psi is not None:
            assert (psi.dtype, psi.shape) == (np.uint8, values.shape)


def test_logits_are_the_same_bit_by_bit(tmp_path):
    """nnU-Net's own predictor on the same preprocessed data, with windows, mirroring and two folds."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    from nnunet_prosma.inspect.predictor import WatchingPredictor

    planned = plans(3, [8, 8, 8], norm=True)
    model = write_model(tmp_path / "results", planned, by_hand=False, folds=2)
    data = torch.randn(1, 9, 13, 8, generator=torch.manual_seed(0))
    settings = {"device": torch.device("cpu"), "perform_everything_on_device": False, "allow_tqdm": False}
    theirs, ours = nnUNetPredictor(**settings), WatchingPredictor(**settings)
    for predictor in (theirs, ours):
        predictor.initialize_from_trained_model_folder(str(model), (0, 1))
    ours.with_support = True
    seen = ours.watch(data)
    assert torch.equal(theirs.predict_logits_from_preprocessed_data(data), seen.logits)
    assert list(seen.maps) == [("psi", 0), ("support", 0)]
    assert len(seen.tallies) == 2


@pytest.mark.parametrize(("step", "dimensions"), [(0.5, 3), (0.1, 3), (1.0, 2), (0.05, 2)])
def test_maps_are_scaled_so_that_half_precision_holds_them_wherever_windows_overlap(tmp_path, step, dimensions):
    """An open gate, on images of sizes that let windows overlap by all but a voxel."""
    from nnunet_prosma.inspect.predictor import WatchingPredictor

    patch = [16] * dimensions
    planned = plans(dimensions, patch)
    model = write_model(tmp_path / "results", planned)
    settings = {"device": torch.device("cpu"), "perform_everything_on_device": False, "allow_tqdm": False}
    predictor = WatchingPredictor(tile_step_size=step, use_mirroring=False, **settings)
    predictor.initialize_from_trained_model_folder(str(model), (0,))
    for size in (17, 25, 33):
        shape = [1, *[1] * (3 - dimensions), 17, *[size] * (dimensions - 1)]
        seen = predictor.watch(torch.ones(shape))
        psi = seen.maps["psi", 0].float() / seen.scale
        np.testing.assert_allclose(psi, OPEN, atol=1e-2)


# parts


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


# what a user can get wrong


def vanilla(model):
    checkpoint = torch.load(model / "fold_0" / "checkpoint_final.pth", weights_only=False)
    checkpoint["trainer_name"] = "nnUNetTrainer"
    weights = checkpoint["network_weights"]
    checkpoint["network_weights"] = {key: value for key, value in weights.items() if ".gates." not in key}
    torch.save(checkpoint, model / "fold_0" / "checkpoint_final.pth")


MISTAKES = {
    "no gates": (lambda m, i: vanilla(m), [], r"has no gates to look into: its trainer nnUNetTrainer built a PlainC"),
    "no fold": (lambda m, i: None, ["-f", "3"], r"no checkpoint_final.pth of fold 3; there is one of fold 0: choose"),
    "no checkpoint": (lambda m, i: None, ["-chk", "x.pth"], r"no x.pth of fold 0; train it, or choose with -chk"),
    "no model": (lambda m, i: (m / "plans.json").unlink(), [], r"holds no plans.json: it must be a model's folder"),
    "damaged": (
        lambda m, i: (m / "fold_0" / "checkpoint_final.pth").write_bytes(b"x"),
        [],
        r"checkpoint_final.pth cannot be read as a checkpoint: it is cut off or damaged",
    ),
    "empty folder": (
        lambda m, i: (i / "case_0000.nii.gz").unlink(),
        [],
        r"holds no image: their names must be CASE_0000.nii.gz",
    ),
    "no truth": (lambda m, i: None, ["-gt", "/"], r"the true segmentation of case is missing: /case.nii.gz is not th"),
    "no cascade": (lambda m, i: None, ["-prev_stage_predictions", "/"], r"-prev_stage_predictions is for the second"),
    "two channels": (
        lambda m, i: write_image(i / "case_0001.nii.gz", np.ones((8, 8, 16), np.float32)),
        [],
        r"case has 2 channels, but the model was trained on 1 \(MR0\): one file each",
    ),
    "damaged image": (
        lambda m, i: (i / "case_0000.nii.gz").write_bytes(b"x"),
        [],
        r"case_0000.nii.gz .*damaged",
    ),
    "step": (lambda m, i: None, ["-step_size", "0"], r"-step_size must be above 0 and at most 1, got 0"),
    "fold x": (lambda m, i: None, ["-f", "x"], r"-f takes numbers of folds, or all, got 'x'"),
    "both": (lambda m, i: None, ["-d", "9"], r"name the model either by -d and -c .* or by its folder with -m"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence_and_status_2(tmp_path, capsys, mistake):
    damage, options, message = MISTAKES[mistake]
    model = write_model(tmp_path / "results", plans(3, [8, 8, 16]))
    write_image(tmp_path / "images" / "case_0000.nii.gz", half_bright((8, 8, 16)))
    damage(model, tmp_path / "images")
    inspect(model, tmp_path / "images", tmp_path / "out", *options, status=2)
    assert_said(capsys, message)
    assert not (tmp_path / "out" / "index.html").exists()


def assert_said(capsys, message):
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("nnunet-prosma inspect: ")]
    assert re.search(message, "\n".join(said)), said


def test_damaged_images_are_named_and_the_others_are_shown(tmp_path, capsys):
    model = write_model(tmp_path / "results", plans(3, [8, 8, 16]))
    images, whole = tmp_path / "images", half_bright((8, 8, 16))
    for name in ("a", "cut", "z"):
        write_image(images / f"{name}_0000.nii.gz", whole)
    cut, holed = images / "cut_0000.nii.gz", whole.copy()
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    holed[1, 2, 3] = np.nan
    write_image(images / "holed_0000.nii.gz", holed)
    inspect(model, images, tmp_path / "out", "--disable_tta", status=2)
    said = capsys.readouterr().err
    for name in ("cut", "holed"):
        assert re.search(rf"^nnunet-prosma inspect: {name} is left out: .*{name}_0000\.nii\.gz", said, re.MULTILINE), (
            said
        )
    assert said.endswith("nnunet-prosma inspect: 2 of 4 cases could not be inspected: cut, holed\n")
    assert "Traceback" not in said
    assert [row["case"] for row in table(tmp_path / "out")] == ["a", "z"]
    assert sorted(path.name for path in (tmp_path / "out" / "segmentations").glob("*.nii.gz")) == [
        "a.nii.gz",
        "z.nii.gz",
    ]
    for name in ("a", "z"):
        assert np.array_equal(read(tmp_path / "out" / "segmentations" / f"{name}.nii.gz"), whole > 0)


def test_a_folder_that_cannot_be_written_is_said(tmp_path, capsys):
    model = write_model(tmp_path / "results", plans(3, [8, 8, 16]))
    write_image(tmp_path / "images" / "case_0000.nii.gz", half_bright((8, 8, 16)))
    (tmp_path / "file").write_text("")
    inspect(model, tmp_path / "images", tmp_path / "file", status=2)
    assert_said(capsys, "file is a file: -o must name a folder")
    inspect(model, tmp_path / "images", tmp_path / "file" / "out", status=2)
    assert_said(capsys, "file/out cannot be written")


def test_a_truth_of_another_size_is_told(tmp_path, capsys):
    model = write_model(tmp_path / "results", plans(3, [8, 8, 16]))
    write_image(tmp_path / "images" / "case_0000.nii.gz", half_bright((8, 8, 16)))
    write_image(tmp_path / "labels" / "case.nii.gz", np.ones((8, 8, 15), np.uint8))
    inspect(model, tmp_path / "images", tmp_path / "out", "-gt", tmp_path / "labels", status=2)
    assert_said(capsys, r"case.nii.gz is of size \(8, 8, 15\), its image of \(8, 8, 16\): both must be the same")


def test_a_cascade_wants_the_predictions_of_the_stage_before(tmp_path, capsys):
    model, _ = cascade(tmp_path, np.random.default_rng(0))
    inspect(model, tmp_path / "images", tmp_path / "out", status=2)
    assert_said(capsys, "give the predictions of 3d_lowres for these images with -prev_stage_predictions")


def test_a_data_set_that_nnunet_does_not_know_is_told(tmp_path, capsys, monkeypatch):
    named = ["inspect", "-d", "77", "-c", "2d", "-i", str(tmp_path), "-o", str(tmp_path / "out")]
    monkeypatch.delenv("nnUNet_results", raising=False)
    assert command.main(named) == 2
    assert_said(capsys, "nnUNet_results is not set: set it as for nnU-Net, or name the folder of the trained model")
    monkeypatch.setenv("nnUNet_results", str(tmp_path))
    assert command.main(named) == 2
    assert_said(capsys, "nnU-Net knows no data set 77: ")
