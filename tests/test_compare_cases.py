"""Every metric and every kind of empty mask on images that can be counted by hand; labels, regions, ignored voxels."""

import csv
import json
import math

import numpy as np
import pytest
from compare_workspace import counts, status_of, write_mask, write_run
from nnunetv2.evaluation.evaluate_predictions import compute_metrics
from nnunetv2.imageio.natural_image_reader_writer import NaturalImage2DIO
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

from nnunet_prosma.command import main

SHAPE = (3, 4, 12)


@pytest.fixture(autouse=True)
def _no_plots(monkeypatch):
    monkeypatch.setattr("nnunet_prosma.report.drawing.draw", lambda *_: [])


def row(*values):
    """Labels along the last axis of the middle line of the middle slice."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[1, 2, : len(values)] = values
    return mask


def compare(root, truths, answers, labels, *arguments, ending=".nii.gz", spacing=(1.0, 1.0, 1.0), save=write_mask):
    """answers: trainer -> case -> mask. The runs' summary.json is nnU-Net's own work. Returns rows of cases.csv."""
    reader = SimpleITKIO() if ending == ".nii.gz" else NaturalImage2DIO()
    for name, mask in truths.items():
        save(root / "truth" / f"{name}{ending}", mask, spacing)
    ignore = labels.get("ignore")
    keys = [tuple(v) if isinstance(v, list) else v for k, v in labels.items() if k not in ("background", "ignore")]
    folders = []
    for trainer, masks in answers.items():
        place = root / f"{trainer}__nnUNetPlans__3d_fullres" / "fold_0" / "validation"
        cases = {}
        for name, mask in masks.items():
            files = [folder / f"{name}{ending}" for folder in (root / "truth", place)]
            save(files[1], mask, spacing)
            cases[name] = compute_metrics(*map(str, files), reader, keys, ignore)["metrics"]
        plain = {n: {k: {m: float(x) for m, x in v.items()} for k, v in ms.items()} for n, ms in cases.items()}
        folder = write_run(root, trainer, {"0": plain}, dataset_labels=labels)
        folders.append(folder)
        if ending != ".nii.gz":
            for file in (folder / "plans.json", folder / "dataset.json", place / "summary.json"):
                file.write_text(file.read_text().replace(".nii.gz", ending).replace("SimpleITKIO", "NaturalImage2DIO"))
    named = ["--folders", *map(str, folders), "-o", str(root / "report"), "--workers", "1"]
    assert main(["compare", *named, *arguments]) == status_of(root / "report")
    lines = csv.DictReader((root / "report" / "cases.csv").read_text().splitlines())
    return {(line["case"], line["label"], line["run"]): line for line in lines}


def summary(root, metric, label):
    found = json.loads((root / "report" / "summary.json").read_text())
    rows = [r for r in found["statistics"] if (r["metric"], r["label"]) == (metric, label)]
    return found, rows[0]


def test_every_metric_of_a_row_of_voxels_is_as_counted_by_hand(tmp_path):
    truth, short, shifted = row(0, 1, 1, 1, 1), row(0, 1, 1), row(0, 0, 0, 1, 1, 1, 1)
    labels = {"background": 0, "rod": 1}
    rows = compare(tmp_path, {"x": truth}, {"A": {"x": short}, "B": {"x": shifted}}, labels, "--tolerance", "1.5")
    a, b = rows["x", "rod", "A"], rows["x", "rod", "B"]
    assert float(a["dice"]) == pytest.approx(2 * 2 / (2 + 4))
    assert float(a["iou"]) == pytest.approx(2 / 4)
    assert float(a["volume_percent"]) == 50
    assert (a["n_ref"], a["n_pred"]) == ("4", "2")
    assert float(b["dice"]) == pytest.approx(2 * 2 / (4 + 4))
    assert float(b["iou"]) == pytest.approx(2 / 6)
    assert float(b["volume_percent"]) == 0
    # the rod's corners stand at 1 to 5 for the truth, 1 to 3 and 3 to 7 for the answers: the farthest are 2 apart
    assert float(a["hd95_mm"]) == 2
    assert float(b["hd95_mm"]) == 2


def test_distances_are_in_mm_whatever_the_axis(tmp_path):
    truth, shifted = row(0, 1, 1, 1, 1), row(0, 0, 0, 1, 1, 1, 1)
    answers = {"A": {"x": truth}, "B": {"x": shifted}}
    labels = {"background": 0, "rod": 1}
    rows = compare(tmp_path, {"x": truth}, answers, labels, spacing=(5.0, 3.0, 0.5))
    assert float(rows["x", "rod", "B"]["hd95_mm"]) == 2 * 0.5
    assert float(rows["x", "rod", "A"]["nsd"]) == 1


EMPTY = {
    "both empty": (row(0), row(0), "", "", ""),
    "only truth empty": (row(0), row(1), "0.0", "", ""),
    "only prediction empty": (row(1), row(0), "0.0", "0.0", "100.0"),
}


@pytest.mark.parametrize("masks", EMPTY)
def test_each_kind_of_empty_mask_is_named_and_has_nnunets_dice(tmp_path, masks):
    truth, prediction, dice, nsd, volume = EMPTY[masks]
    answers = {"A": {"x": prediction, "y": row(1)}, "B": {"x": prediction, "y": row(1)}}
    rows = compare(tmp_path, {"x": truth, "y": row(1)}, answers, {"background": 0, "rod": 1})
    line = rows["x", "rod", "A"]
    assert (line["masks"], line["dice"], line["nsd"], line["hd95_mm"], line["volume_percent"]) == (
        masks, dice, nsd, "", volume)  # fmt: skip
    assert rows["y", "rod", "A"]["masks"] == ""


@pytest.fixture
def with_empty_masks(tmp_path):
    """Over six cases: A is silent once, misses once, and raises two false alarms; B shares one of them."""
    truths = {
        "absent": row(0),
        "alarm": row(0),
        "alarms": row(0),
        "missed": row(1),
        "found": row(1, 1),
        "both": row(1, 1),
    }
    first = {"absent": row(0), "alarm": row(1), "alarms": row(1), "missed": row(0), "found": row(1, 1), "both": row(1)}
    second = {
        "absent": row(0),
        "alarm": row(0),
        "alarms": row(1),
        "missed": row(1),
        "found": row(1, 1),
        "both": row(1, 1),
    }
    compare(tmp_path, truths, {"A": first, "B": second}, {"background": 0, "rod": 1})
    return tmp_path


def test_empty_masks_are_counted_for_each_run(with_empty_masks):
    found, _ = summary(with_empty_masks, "dice", "rod")
    assert found["empty_masks"] == [
        {"label": "rod", "present": 3, "absent": 3, "both_empty": [1, 2], "false_alarms": [2, 1], "misses": [1, 0]}
    ]


def test_cases_without_truth_are_left_out_for_both_runs_and_a_miss_is_0(with_empty_masks):
    _, dice = summary(with_empty_masks, "dice", "rod")
    assert (dice["n"], dice["left_out"]) == (3, 3)
    assert dice["baseline_values"]["mean"] == pytest.approx((0 + 1 + 2 / 3) / 3)
    assert dice["candidate_values"]["mean"] == 1
    assert (dice["wins"], dice["ties"], dice["losses"]) == (2, 1, 0)


def test_a_miss_has_no_finite_distance_and_leaves_the_pair_out_of_it(with_empty_masks):
    _, hd95 = summary(with_empty_masks, "hd95", "rod")
    assert (hd95["n"], hd95["left_out"]) == (2, 4)
    _, volume = summary(with_empty_masks, "volume", "rod")
    assert (volume["n"], volume["baseline_values"]["mean"]) == (3, 50)  # 100 %, 0 and 50 %


def test_a_miss_can_cost_the_images_diagonal_and_only_a_miss(tmp_path):
    labels = {"background": 0, "rod": 1}
    truths = {"found": row(0, 1, 1), "missed": row(1, 1, 1), "absent": row()}
    answers = {"A": truths, "B": {"found": row(0, 1, 1), "missed": row(), "absent": row(1)}}
    spacing = (2.0, 1.0, 0.5)
    asked = ("--hd95-of-a-miss", "diagonal")
    rows = compare(tmp_path, truths, answers, labels, *asked, spacing=spacing)
    corner_to_corner = math.sqrt((3 * 2.0) ** 2 + (4 * 1.0) ** 2 + (12 * 0.5) ** 2)
    assert float(rows["missed", "rod", "B"]["hd95_mm"]) == pytest.approx(corner_to_corner)
    assert float(rows["found", "rod", "B"]["hd95_mm"]) == 0
    found, hd95 = summary(tmp_path, "hd95", "rod")
    assert hd95["n"] == 2
    assert hd95["mean_difference"] == pytest.approx(corner_to_corner / 2)
    assert found["settings"]["hd95_of_a_miss"] == "diagonal"
    assert "the image's diagonal stands for it" in (tmp_path / "report" / "report.md").read_text()


def test_where_another_truth_is_allowed_each_run_is_held_against_its_own(tmp_path):
    labels = {"background": 0, "rod": 1}
    compare(tmp_path / "new", {"x": row(1, 1, 1, 1)}, {"A": {"x": row(1, 1)}, "B": {"x": row(1, 1, 1)}}, labels)
    compare(tmp_path / "old", {"x": row(1, 1)}, {"A": {"x": row(1, 1)}, "B": {"x": row(1, 1, 1)}}, labels)
    folders = [str(tmp_path / place / f"{t}__nnUNetPlans__3d_fullres") for place, t in (("new", "A"), ("old", "B"))]
    asked = ["compare", "--folders", *folders, "-np", "1", "-o", str(tmp_path / "report"), "--allow", "truth"]
    assert main(asked) == status_of(tmp_path / "report")
    found, volume = summary(tmp_path, "volume", "rod")
    assert [f["kind"] for f in found["findings"]] == ["truth"]
    assert volume["baseline_values"]["mean"] == 50  # 2 of 4 voxels
    assert volume["candidate_values"]["mean"] == 50  # 3 where there are 2


def test_a_label_that_is_missed_in_part_is_counted_and_said_where_its_distance_is_left_out(tmp_path):
    labels, truth = {"background": 0, "rod": 1, "tip": 2}, row(1, 1, 2, 2)
    truths = dict.fromkeys(("found", "in part", "in part, by A", "whole"), truth)
    first = {**truths, "in part, by A": row(0, 0, 2, 2)}
    second = {**truths, "in part": row(1, 1), "whole": row()}
    compare(tmp_path, truths, {"A": first, "B": second}, labels, "--primary", "hd95")
    found, mean = summary(tmp_path, "hd95", "mean over labels")
    assert (mean["n"], mean["missed"], mean["some_missed"]) == (3, 1, 3)
    _, rod = summary(tmp_path, "hd95", "rod")
    assert (rod["n"], rod["missed"], rod["some_missed"]) == (2, 2, 2)
    _, dice = summary(tmp_path, "dice", "mean over labels")
    assert (dice["n"], dice["missed"], dice["some_missed"]) == (4, 0, 0)
    said = "Either missed a label in 3 cases, and it is left out there, since its distance is not finite; 1 of them is"
    assert said in found["verdicts"]["B"]["sentence"]
    lines = (tmp_path / "report" / "report.md").read_text().splitlines()
    heading = next(i for i, line in enumerate(lines) if line.startswith("### 95 % Hausdorff"))
    mean_row = next(line for line in lines[heading:] if line.startswith("| mean over labels |"))
    assert mean_row.split(" | ")[1:4] == ["3", "0", "1 (and 2 in part)"]


def test_the_verdict_on_the_distance_of_one_label_says_how_often_it_was_missed(with_empty_masks, tmp_path):
    folders = [str(tmp_path / f"{trainer}__nnUNetPlans__3d_fullres") for trainer in "AB"]
    asked = ["--folders", *folders, "-o", str(tmp_path / "hd95"), "--primary", "hd95", "-np", "1"]
    assert main(["compare", *asked]) == status_of(tmp_path / "hd95")
    sentence = json.loads((tmp_path / "hd95" / "summary.json").read_text())["verdicts"]["B"]["sentence"]
    assert "Left out: 1 case in which either missed rod, where no distance is finite." in sentence


def test_absent_and_missed_are_two_columns_of_the_hausdorff_distance(with_empty_masks):
    lines = (with_empty_masks / "report" / "report.md").read_text().splitlines()
    heading = next(i for i, line in enumerate(lines) if line.startswith("### 95 % Hausdorff"))
    assert lines[heading + 2].startswith("| label | cases | absent in truth | missed by either |")
    rod = next(line for line in lines[heading:] if line.startswith("| rod |"))
    assert [cell.strip() for cell in rod.split("|")[3:5]] == ["3", "1"]


def test_nnunets_own_mean_is_kept_beside(with_empty_masks):
    found, _ = summary(with_empty_masks, "dice", "rod")
    assert found["nnunet_mean_dice"]["A"]["rod"] == pytest.approx((0 + 0 + 0 + 1 + 2 / 3) / 5)


def test_the_report_shows_the_counts(with_empty_masks):
    page = (with_empty_masks / "report" / "report.md").read_text()
    assert "| rod | A | 3 | 3 | 1 | 2 | 1 |" in page
    assert "| rod | B | 3 | 3 | 2 | 1 | 0 |" in page


def test_regions_are_compared_as_nnunet_defines_them(tmp_path):
    labels = {"background": 0, "whole": [1, 2], "core": [2]}
    truth, answer = row(1, 1, 2, 2), row(1, 2, 2, 0)
    rows = compare(tmp_path, {"x": truth}, {"A": {"x": truth}, "B": {"x": answer}}, labels)
    assert float(rows["x", "whole", "B"]["dice"]) == pytest.approx(2 * 3 / (4 + 3))
    assert float(rows["x", "core", "B"]["dice"]) == pytest.approx(2 * 1 / (2 + 2))
    assert float(rows["x", "whole", "A"]["nsd"]) == 1


def test_ignored_voxels_count_for_nothing(tmp_path):
    labels = {"background": 0, "rod": 1, "ignore": 2}
    truth, inside, outside = row(1, 1, 0, 2, 2, 2), row(1, 1, 0, 1, 1), row(1, 0, 0, 1, 1)
    rows = compare(tmp_path, {"x": truth}, {"A": {"x": inside}, "B": {"x": outside}}, labels)
    assert [float(rows["x", "rod", "A"][m]) for m in ("dice", "nsd", "hd95_mm")] == [1, 1, 0]
    assert float(rows["x", "rod", "B"]["dice"]) == pytest.approx(2 * 1 / (2 + 1))


def test_png_images_are_measured_in_pixels(tmp_path):
    from skimage.io import imsave

    def save(path, mask, _):
        path.parent.mkdir(parents=True, exist_ok=True)
        imsave(path, mask[1], check_contrast=False)

    labels = {"background": 0, "rod": 1}
    answers = {"A": {"x": row(0, 1, 1, 1, 1)}, "B": {"x": row(0, 0, 0, 1, 1, 1, 1)}}
    rows = compare(tmp_path, {"x": row(0, 1, 1, 1, 1)}, answers, labels, "--primary", "hd95", ending=".png", save=save)
    assert rows["x", "rod", "B"]["hd95_px"] == "2.0"
    assert "2.00 px" in (tmp_path / "report" / "report.md").read_text()


def test_the_mean_over_labels_is_over_the_labels_that_a_case_has(tmp_path):
    both, one = {1: counts(0.8), 2: counts(0.6)}, {1: counts(0.5), 2: counts(None, 0, 0)}
    first = write_run(tmp_path, "A", {"0": {"x": both, "y": one}})
    second = write_run(tmp_path, "B", {"0": {"x": both, "y": one}})
    named = ["--folders", str(first), str(second), "-o", str(tmp_path / "report"), "--tables-only"]
    assert main(["compare", *named]) == status_of(tmp_path / "report")
    _, mean = summary(tmp_path, "dice", "mean over labels")
    assert mean["baseline_values"]["mean"] == pytest.approx((0.7 + 0.5) / 2)
    _, tumour = summary(tmp_path, "dice", "tumour")
    assert (tumour["n"], tumour["left_out"]) == (1, 1)


def test_challenger_gets_na_for_what_does_not_count(with_empty_masks):
    text = (with_empty_masks / "report" / "challengeR" / "hd95.csv").read_text()
    lines = list(csv.reader(text.splitlines()))
    assert lines[0] == ["task", "case", "alg_name", "value"]
    values = {(case, run): value for _, case, run, value in lines[1:]}
    assert values["missed", "A"] == values["absent", "A"] == values["alarms", "B"] == "NA"
    assert values["missed", "B"] == "0.0"
    assert len(values) == 12
    assert not math.isnan(float(values["found", "A"]))
