"""What inspect predicts is what nnU-Net's predictor and nnUNetv2_predict do, on models with random weights."""

import numpy as np
import pytest
import torch
from hand_built import plans, write_model
from inspected import OPEN, cascade, read, write_images
from skimage.io import imread
from workspace import Workspace

from nnunet_prosma import command

pytestmark = pytest.mark.filterwarnings("ignore:The given NumPy array is not writable:UserWarning")


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
