import json

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import tifffile
from PIL import Image

from nnunet_prosma.command import main
from nnunet_prosma.metrics import Count, scores_of

# two batches of two and one of one: I/U = 1/3, 6/10; 0/4, (nothing); 2/2
COUNTS = [Count(1, 2, 2), Count(6, 8, 8), Count(0, 4, 0), Count(0, 0, 0), Count(2, 2, 2)]


def test_three_poolings_by_hand_count():
    scores = scores_of(COUNTS, batch_size=2)
    assert scores["image"].iou == pytest.approx((1 / 3 + 6 / 10 + 0 + 1) / 4)
    assert scores["image"].f1 == pytest.approx((2 / 4 + 12 / 16 + 0 + 1) / 4)
    assert (scores["image"].images, scores["image"].left_out) == (4, 1)
    first, second, third = 7 / 13, 0, 1  # I/U of each batch as one image
    assert scores["batch"].iou == pytest.approx((2 * first + 2 * second + third) / 5, abs=1e-5)
    assert scores["batch"].f1 == pytest.approx((2 * 14 / 20 + 2 * 0 + 1) / 5, abs=1e-5)
    assert (scores["dataset"].iou, scores["dataset"].f1) == (pytest.approx(9 / 19), pytest.approx(18 / 28))


def test_the_worked_example_of_the_documents():
    scores = scores_of([Count(90, 100, 100), Count(1, 10, 2), Count(30, 40, 50)], batch_size=2)
    percent = [round(100 * value, 1) for score in scores.values() for value in (score.iou, score.f1)]
    assert percent == [47.0, 57.8, 66.8, 79.5, 66.9, 80.1]


def test_where_nothing_is_and_nothing_is_found_u_kans_smoothing_says_1_and_the_others_nothing():
    scores = scores_of([Count(0, 0, 0)] * 3, batch_size=2)
    assert scores["batch"].iou == scores["batch"].f1 == 1
    assert scores["image"].iou is scores["dataset"].f1 is None


def test_the_order_of_the_cases_decides_the_batches():
    assert scores_of(COUNTS[::-1], 2)["batch"].iou != pytest.approx(scores_of(COUNTS, 2)["batch"].iou)
    assert scores_of(COUNTS[::-1], 2)["dataset"] == scores_of(COUNTS, 2)["dataset"]


def test_batches_pooled_as_u_kans_own_arithmetic_pools_them():
    """On arrays, as its iou_score takes them: (intersection + 1e-5) / (union + 1e-5), dice = 2 iou / (iou + 1)."""
    rng = np.random.default_rng(0)
    truth, prediction = rng.random((19, 6, 6)) < 0.3, rng.random((19, 6, 6)) < 0.4
    iou = dice = 0.0
    for i in range(0, 19, 8):
        a, b = prediction[i : i + 8], truth[i : i + 8]
        value = ((a & b).sum() + 1e-5) / ((a | b).sum() + 1e-5)
        iou += value * len(a)
        dice += 2 * value / (value + 1) * len(a)
    counts = [Count(int((a & b).sum()), int(b.sum()), int(a.sum())) for a, b in zip(prediction, truth, strict=True)]
    assert scores_of(counts)["batch"].iou == pytest.approx(iou / 19, rel=1e-12)
    assert scores_of(counts)["batch"].f1 == pytest.approx(dice / 19, rel=1e-12)


def test_no_average_of_f1_exceeds_what_the_average_of_iou_allows():
    """f(J) = 2J/(1+J) is concave: by this the published pairs for Kvasir-SEG cannot be averages of one kind."""
    rng = np.random.default_rng(1)
    for _ in range(50):
        both = rng.integers(0, 50, 20)
        counts = [
            Count(int(i), int(i + a), int(i + b)) for i, a, b in zip(both, *rng.integers(0, 80, (2, 20)), strict=True)
        ]
        for score in scores_of(counts, 4).values():
            assert score.f1 <= 2 * score.iou / (1 + score.iou) + 1e-9


def write_png(folder, name, rows):
    folder.mkdir(exist_ok=True)
    Image.fromarray(np.array(rows, np.uint8)).save(folder / f"{name}.png")


@pytest.fixture
def folders(tmp_path):
    """Three cases with labels 1 and 2; the truth has one case more."""
    truth, prediction = tmp_path / "truth", tmp_path / "prediction"
    write_png(truth, "a", [[1, 1, 0], [0, 2, 2]])
    write_png(prediction, "a", [[1, 0, 0], [0, 2, 2]])
    write_png(truth, "b", [[1, 1, 1], [0, 0, 0]])
    write_png(prediction, "b", [[1, 1, 1], [1, 0, 0]])
    write_png(truth, "c", [[0, 0, 0], [0, 0, 0]])
    write_png(prediction, "c", [[0, 0, 0], [0, 0, 0]])
    write_png(truth, "d", [[1, 0, 0], [0, 0, 0]])
    return prediction, truth


def test_the_command_measures_folders_label_by_label(folders, tmp_path, capsys):
    assert main(["metrics", *map(str, folders), "--batch-size", "2", "--json", str(tmp_path / "m.json")]) == 0
    printed = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert printed[1] == ["1", "per", "image", "62.50", "76.19", "2", "(1", "without", "the", "label,", "left", "out)"]
    assert printed[2] == ["1", "pooled", "per", "batch", "77.78", "86.67", "3"]  # 4/6 of two images, 1 of one
    assert printed[3][-3:] == ["66.67", "80.00", "3"]
    content = json.loads((tmp_path / "m.json").read_text())
    assert content["labels"]["1"]["images"]["b"] == {"both": 3, "truth": 3, "prediction": 4}
    assert content["labels"]["2"]["scores"]["dataset"]["iou"] == 1
    assert main(["metrics", *map(str, folders), "--batch-size", "2", "--json"]) == 0
    assert content.pop("made_by") == "nnunet-prosma metrics"  # which makes the file one of ours
    assert json.loads(capsys.readouterr().out) == content


def test_a_fold_says_which_cases_and_in_which_order(folders, tmp_path, capsys):
    splits = tmp_path / "splits_final.json"
    splits.write_text(json.dumps([{"train": [], "val": ["b", "c", "a"]}, {"train": [], "val": ["d"]}]))
    options = ["--splits", str(splits), "--batch-size", "2", "--labels", "1", "--fold"]
    assert main(["metrics", *map(str, folders), *options, "0"]) == 0
    assert "66.67" in capsys.readouterr().out.splitlines()[2]  # (2 * 3/4 + 1/2) / 3
    assert main(["metrics", *map(str, folders), *options, "1"]) == 2
    assert "has no d.png; each case needs a prediction and its truth" in capsys.readouterr().err
    assert main(["metrics", *map(str, folders), *options, "2"]) == 2
    assert "has folds 0 to 1, not 2" in capsys.readouterr().err


def test_volumes_are_read_as_nnunet_reads_them(tmp_path, capsys):
    for name, filled in (("truth", 4), ("prediction", 2)):
        (tmp_path / name).mkdir()
        array = np.zeros((4, 4, 4), np.uint8)
        array[:filled] = 1
        sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / name / "x.nii.gz"))
    assert main(["metrics", str(tmp_path / "prediction"), str(tmp_path / "truth")]) == 0
    assert [line.split()[-3] for line in capsys.readouterr().out.splitlines()[1:]] == ["50.00"] * 3


@pytest.mark.parametrize("slices", [3, 4, 12])
def test_a_tif_of_several_slices_is_a_volume(tmp_path, capsys, slices):
    """Of three or four, which look like colours, only the first would count."""
    for name, (start, end) in (("truth", (0, 2)), ("prediction", (1, 3))):
        (tmp_path / name).mkdir()
        array = np.zeros((slices, 20, 24), np.uint8)
        array[start:end] = 1
        tifffile.imwrite(tmp_path / name / "x.tif", array, compression="zlib", photometric="minisblack")
    (tmp_path / "prediction" / "x.json").write_text('{"spacing": [3, 1, 1]}')  # nnU-Net's, which the truth lacks
    assert main(["metrics", str(tmp_path / "prediction"), str(tmp_path / "truth")]) == 0
    assert [line.split()[-3] for line in capsys.readouterr().out.splitlines()[1:]] == ["33.33"] * 3


def test_a_mask_in_colours_is_not_measured_by_its_first_one(folders, capsys):
    prediction, truth = folders
    for folder, green in zip(folders, (0, 1), strict=True):
        colours = np.zeros((2, 3, 3), np.uint8)
        colours[0, 0] = (1, green, 0)
        Image.fromarray(colours).save(folder / "a.png")
    assert main(["metrics", str(prediction), str(truth)]) == 2
    assert "a.png must be a segmentation, one number a voxel, and is read as 3 channels" in capsys.readouterr().err


def test_where_the_truth_has_the_ignore_label_nothing_counts(tmp_path, capsys):
    write_png(tmp_path / "truth", "a", [[1, 1, 2], [0, 0, 2]])
    write_png(tmp_path / "prediction", "a", [[1, 0, 1], [0, 0, 1]])
    folders = [str(tmp_path / name) for name in ("prediction", "truth")]
    assert main(["metrics", *folders, "--ignore", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split()[0] for line in lines] == ["1"] * 3  # no row of the label itself
    assert "50.00" in lines[0]
    assert main(["metrics", *folders]) == 0
    assert "25.00" in capsys.readouterr().out


def test_bad_input_is_named(folders, tmp_path, capsys):
    prediction, truth = folders
    (tmp_path / "empty").mkdir()
    assert main(["metrics", str(tmp_path / "empty"), str(truth)]) == 2
    assert "holds no image that nnU-Net reads" in capsys.readouterr().err
    assert main(["metrics", str(prediction), str(truth), "--fold", "0"]) == 2
    assert "--splits and --fold go together" in capsys.readouterr().err


def test_an_image_that_cannot_be_read_is_named_and_left_out_of_every_number(folders, tmp_path, capsys):
    prediction, truth = folders
    write_png(prediction, "a", [[1, 0]])
    (prediction / "c.png").write_bytes(b"no picture")
    found = tmp_path / "m.json"
    assert main(["metrics", str(prediction), str(truth), "--json", str(found)]) == 2
    printed = capsys.readouterr()
    assert "2 of 3 images are left out of all of it: a, c" in printed.out
    assert "a.png: it has 1 x 1 x 2 voxels, its ground truth 1 x 2 x 3" in printed.err
    assert "c.png cannot be read" in printed.err
    content = json.loads(found.read_text())
    assert sorted(content["unreadable"]) == ["a", "c"]
    assert content["labels"]["1"]["scores"]["dataset"]["iou"] == 3 / 4  # of b alone
    assert list(content["labels"]["1"]["images"]) == ["b"]
    (prediction / "b.png").write_bytes(b"no picture")
    found.unlink()
    assert main(["metrics", str(prediction), str(truth), "--json", str(found)]) == 2
    assert "no case can be measured: " in capsys.readouterr().err
    assert not found.exists()
