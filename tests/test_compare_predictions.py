"""Predictions of any tool on a test set, measured by nnU-Net, through the command line."""

import json
import shutil

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from compare_workspace import status_of, write_mask

from nnunet_prosma.command import main
from nnunet_prosma.compare.pictures import read_image, read_masks
from nnunet_prosma.compare.predictions import TEST, read_predictions
from nnunet_prosma.compare.summaries import read_cases

LABELS = {"background": 0, "liver": 1, "tumour": 2}
CASES = 6


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A raw data set with a test set, and answers of two tools: B finds one voxel less of the liver in each case."""
    root = tmp_path_factory.mktemp("predictions")
    described = {"labels": LABELS, "file_ending": ".nii.gz", "channel_names": {"0": "CT"}, "numTraining": 1}
    (root / "raw" / "labelsTs").mkdir(parents=True)
    (root / "raw" / "dataset.json").write_text(json.dumps(described))
    for i in range(CASES):
        truth = np.zeros((4, 8, 8), np.uint8)
        truth[1:3, 1:3, 1 : 3 + i % 3] = 1
        truth[1, 5, 5] = 2
        write_mask(root / "raw" / "labelsTs" / f"c{i}.nii.gz", truth)
        write_mask(root / "A" / f"c{i}.nii.gz", truth)
        truth[1, 1, 1] = 0
        write_mask(root / "B" / f"c{i}.nii.gz", truth)
    return root


def compared(root, *arguments, status=0):
    assert main(["compare", *map(str, arguments), "-np", "1", "-o", str(root / "report")]) == (
        status or status_of(root / "report")
    )
    return json.loads((root / "report" / "summary.json").read_text())


def test_predictions_of_any_tool_are_measured_against_the_truth(made, tmp_path):
    found = compared(
        tmp_path, "--predictions", made / "A", made / "B", "--truth", made / "raw" / "labelsTs", "--no-images"
    )
    liver = next(row for row in found["statistics"] if row["label"] == "liver" and row["metric"] == "dice")
    sizes = np.array([8 + 4 * (i % 3) for i in range(CASES)])
    assert liver["candidate_values"]["mean"] == pytest.approx(np.mean(2 * (sizes - 1) / (2 * sizes - 1)))
    assert [run["name"] for run in found["runs"]] == ["A", "B"]
    assert any("how they were made is not known" in f["sentence"] for f in found["findings"])


def evaluated(made, tmp_path):
    """Copies of both folders with nnU-Net's summary.json and a dataset.json in them."""
    from nnunetv2.evaluation.evaluate_predictions import compute_metrics_on_folder
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    folders = []
    for name in "AB":
        folder = tmp_path / name
        folder.mkdir()
        for file in (made / name).iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        (folder / "dataset.json").write_bytes((made / "raw" / "dataset.json").read_bytes())
        truth, output = str(made / "raw" / "labelsTs"), str(folder / "summary.json")
        compute_metrics_on_folder(truth, str(folder), output, SimpleITKIO(), ".nii.gz", [1, 2], None, 1)
        folders.append(folder)
    return folders


def test_nnu_nets_own_summary_is_taken_where_it_is_of_this_truth(made, tmp_path, monkeypatch):
    folders = evaluated(made, tmp_path)
    monkeypatch.setattr("nnunet_prosma.compare.predictions.measure", None)
    found = compared(tmp_path, "--predictions", *folders, "--tables-only")
    assert found["cases"] == CASES


@pytest.mark.parametrize("arguments", [("--tables-only",), ("--no-images",), ()])
def test_predictions_that_were_moved_are_compared_as_they_were(made, tmp_path, monkeypatch, arguments):
    folders = evaluated(made, tmp_path)
    first = compared(tmp_path, "--predictions", *folders, *arguments)
    moved = [folder.rename(tmp_path / f"moved_{folder.name}") for folder in folders]
    monkeypatch.setattr("nnunet_prosma.compare.predictions.measure", None)
    second = compared(tmp_path / "again", "--predictions", *moved, *arguments)
    assert (second["cases"], second["unmeasured"]) == (CASES, {})
    names = {"candidate": "B", "baseline": "A"}
    assert [row | names for row in second["statistics"]] == first["statistics"]


def test_a_summary_of_files_that_are_not_in_the_folder_is_not_taken(made, tmp_path, capsys):
    folders = evaluated(made, tmp_path)
    for file in folders[1].glob("*.nii.gz"):
        file.unlink()
    asked = ["compare", "--predictions", *map(str, folders), "--no-images", "-o", str(tmp_path / "report")]
    assert main(asked) == 2
    assert "B holds no summary.json of nnUNetv2_evaluate_folder on its predictions: name the" in capsys.readouterr().err


def test_moved_predictions_whose_truth_is_gone_ask_for_the_truth(made, tmp_path, capsys):
    root = shutil.copytree(made, tmp_path / "copy")
    folders = evaluated(root, tmp_path)
    (root / "raw").rename(tmp_path / "elsewhere")
    asked = ["compare", "--predictions", *map(str, folders), "-np", "1", "-o", str(tmp_path / "report")]
    assert main(asked) == 2
    assert "Where the ground truth was moved, name it with --truth" in capsys.readouterr().err
    found = compared(tmp_path, "--predictions", *folders, "--truth", tmp_path / "elsewhere" / "labelsTs", "--no-images")
    assert found["cases"] == CASES


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda root: (root / "raw" / "labelsTs" / "c3.nii.gz").unlink(), "must hold the ground truth of the case c3"),
        (lambda root: (root / "B" / "c3.nii.gz").unlink(), "B has no prediction of the case c3"),
        (lambda root: (root / "raw" / "dataset.json").unlink(), "name one with -djfile"),
        (lambda root: [file.unlink() for file in (root / "A").iterdir()], r"holds no segmentation \*.nii.gz"),
    ],
    ids=["no truth", "no prediction", "no dataset.json", "empty"],
)
def test_what_cannot_be_compared_is_refused(made, tmp_path, capsys, change, says):
    import re
    import shutil

    root = shutil.copytree(made, tmp_path / "copy")
    change(root)
    named = ["--predictions", root / "A", root / "B", "--truth", root / "raw" / "labelsTs", "--tables-only", "-np", "1"]
    assert main(["compare", *map(str, named), "-o", str(tmp_path / "report")]) == 2
    assert re.search(says, capsys.readouterr().err)
    assert not (tmp_path / "report").exists()


def test_pictures_show_the_predictions_also_where_raw_data_are_at_hand(made, tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_raw", str(tmp_path))
    runs = read_predictions([made / "A", made / "B"], made / "raw" / "labelsTs", None, 1)
    cases = [read_cases(run, [TEST])["c0"] for run in runs]
    truth, a, b = read_masks(runs, cases).volumes
    assert truth.shape == (4, 8, 8)
    assert (a == truth).all()
    assert np.argwhere(b != truth).tolist() == [[1, 1, 1]]
    where = made / "raw" / "labelsTs" / "c0.nii.gz"
    assert read_image(runs[0], "c0", where, truth.shape) is None


def test_the_image_of_a_test_case_is_found_beside_the_folder_of_its_truth(made, tmp_path):
    raw = shutil.copytree(made, tmp_path / "copy") / "raw"
    runs = read_predictions([tmp_path / "copy" / "A", tmp_path / "copy" / "B"], raw / "labelsTs", None, 1)
    values = np.arange(4 * 8 * 8, dtype=np.float32).reshape(4, 8, 8)
    (raw / "imagesTs").mkdir()
    sitk.WriteImage(sitk.GetImageFromArray(values), str(raw / "imagesTs" / "c0_0000.nii.gz"))
    shown = read_image(runs[0], "c0", raw / "labelsTs" / "c0.nii.gz", values.shape)
    assert shown is not None
    assert (np.diff(shown.ravel()) >= 0).all()
    assert shown[0, 0, 0] < 0.1 < 0.9 < shown[-1, -1, -1]
