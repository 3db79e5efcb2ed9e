"""A case whose image is damaged is named and left out for all runs; the numbers are those of a report without it."""

import csv
import json
import re
import shutil

import numpy as np
import pytest
from compare_workspace import write_mask, write_run
from nnunetv2.evaluation.evaluate_predictions import compute_metrics
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

from nnunet_prosma.command import main

CASES = [f"c{number}" for number in range(12)]
BAD = "c3"
LABELS = {"background": 0, "liver": 1}


@pytest.fixture(autouse=True)
def _nothing_is_drawn(monkeypatch):
    monkeypatch.setattr("nnunet_prosma.report.drawing.draw", lambda *_: [])
    monkeypatch.setattr("nnunet_prosma.compare.pictures.render", lambda *_: b"a picture")


def box(size):
    mask = np.zeros((4, 8, 9), np.uint8)
    mask[1:3, 1 : 2 + size, 1:4] = 1
    return mask


def write_runs(root, trainers=("A", "B"), cases=CASES):
    """Answers that differ from case to case, and summaries of nnU-Net's own numbers."""
    folders = []
    for number, case in enumerate(CASES):
        write_mask(root / "truth" / f"{case}.nii.gz", box(2 + number % 4))
    for shift, trainer in enumerate(trainers):
        place = root / f"{trainer}__nnUNetPlans__3d_fullres" / "fold_0" / "validation"
        measured = {}
        for number, case in enumerate(cases):
            files = [root / "truth" / f"{case}.nii.gz", place / f"{case}.nii.gz"]
            write_mask(files[1], box(1 + (number + 2 * shift) % 5))
            found = compute_metrics(*map(str, files), SimpleITKIO(), [1])["metrics"]
            measured[case] = {label: {k: float(v) for k, v in values.items()} for label, values in found.items()}
        folders.append(write_run(root, trainer, {"0": measured}, dataset_labels=LABELS))
    return folders


def cut(path):
    """As a copy that broke off leaves it: SimpleITK reads zeros."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def compare(capsys, root, *arguments):
    """Status, what is said on stderr, and summary.json."""
    status = main(["compare", *map(str, arguments), "-np", "1", "-o", str(root / "report")])
    return status, capsys.readouterr().err, json.loads((root / "report" / "summary.json").read_text())


@pytest.mark.parametrize("where", ["truth", "B__nnUNetPlans__3d_fullres/fold_0/validation"])
def test_the_numbers_are_those_of_a_comparison_in_which_the_case_never_was(tmp_path, capsys, where):
    damaged = write_runs(tmp_path / "damaged")
    shutil.copytree(tmp_path / "damaged", tmp_path / "whole")
    whole = [tmp_path / "whole" / folder.name for folder in damaged]
    for folder in whole:
        summary = folder / "fold_0" / "validation" / "summary.json"
        content = json.loads(summary.read_text().replace(str(tmp_path / "damaged"), str(tmp_path / "whole")))
        content["metric_per_case"] = [c for c in content["metric_per_case"] if BAD not in c["prediction_file"]]
        summary.write_text(json.dumps(content))
    cut(tmp_path / "damaged" / where / f"{BAD}.nii.gz")
    status, error, found = compare(capsys, tmp_path / "damaged", "--folders", *damaged)
    assert status == 2
    said = [line for line in error.splitlines() if line.startswith("nnunet-prosma")]
    assert re.search(rf"compare: {BAD} is left out: .*{BAD}\.nii\.gz cannot be read: it is cut off", said[0])
    assert said[1].endswith("the report is made, but 1 of the files that it asks for cannot be read")
    assert len(said) == 2
    status, _, expected = compare(capsys, tmp_path / "whole", "--folders", *whole)
    assert status == 0
    assert found["statistics"] == expected["statistics"]
    assert (found["cases"], list(found["unmeasured"])) == (11, [BAD])
    rows = csv.DictReader((tmp_path / "damaged" / "report" / "cases.csv").read_text().splitlines())
    assert {row["case"] for row in rows} == set(CASES) - {BAD}


def test_the_report_says_it_wherever_it_gives_numbers(tmp_path, capsys):
    folders = write_runs(tmp_path)
    cut(folders[1] / "fold_0" / "validation" / f"{BAD}.nii.gz")
    _, _, found = compare(capsys, tmp_path, "--folders", *folders)
    told = f"1 of 12 cases is left out for all runs, since a file could not be measured: {BAD}."
    report = (tmp_path / "report" / "report.md").read_text()
    assert told in found["verdicts"]["B"]["sentence"]
    assert told in (tmp_path / "report" / "table.tex").read_text()
    assert told in report.split("## Results")[1]
    assert told in report.split("## Is it a fair comparison?")[1].split("## Results")[0]
    assert found["findings"][0]["kind"] == "unmeasured"


def test_over_data_sets_too(tmp_path, capsys):
    for number, name in enumerate(("one", "two")):
        folders = write_runs(tmp_path / name, cases=CASES)
        for folder in folders:
            plans = json.loads((folder / "plans.json").read_text()) | {"dataset_name": f"Dataset00{number}_X"}
            (folder / "plans.json").write_text(json.dumps(plans))
        if number:
            (folders[0] / "fold_0" / "validation" / f"{BAD}.nii.gz").unlink()
        compare(capsys, tmp_path / name, "--folders", *folders)
    reports = [str(tmp_path / name / "report") for name in ("one", "two")]
    assert main(["compare", "--across", *reports, "-o", str(tmp_path / "all"), "--tables-only"]) == 0
    told = "Left out, since their files could not be measured: cases 1 of Dataset001_X."
    assert told in capsys.readouterr().out
    assert told in (tmp_path / "all" / "report.md").read_text()


@pytest.mark.parametrize("arguments", [("--no-images",), ()])
def test_predictions_lose_the_case_in_every_folder(tmp_path, capsys, arguments):
    described = {"labels": LABELS, "file_ending": ".nii.gz", "channel_names": {"0": "CT"}, "numTraining": 1}
    (tmp_path / "dataset.json").write_text(json.dumps(described))
    for number, case in enumerate(CASES):
        write_mask(tmp_path / "truth" / f"{case}.nii.gz", box(2 + number % 4))
        for shift, name in enumerate("AB"):
            write_mask(tmp_path / name / f"{case}.nii.gz", box(1 + (number + 2 * shift) % 5))
    cut(tmp_path / "B" / f"{BAD}.nii.gz")
    write_mask(tmp_path / "A" / "c5.nii.gz", box(3)[:1])  # numpy would stretch it over all slices
    named = ["--predictions", tmp_path / "A", tmp_path / "B", "--truth", tmp_path / "truth", *arguments]
    status, error, found = compare(capsys, tmp_path, *named)
    assert status == 2
    assert re.search(rf"compare: {BAD} is left out: .*B/{BAD}\.nii\.gz cannot be read: it is cut off", error)
    assert re.search(r"compare: c5 is left out: .*A/c5\.nii\.gz is not of the image of .*: it has 1 x 8 x 9", error)
    assert (found["cases"], set(found["unmeasured"])) == (10, {BAD, "c5"})
    assert "2 of 12 cases are left out for all runs" in found["verdicts"]["B"]["sentence"]
    for name in "AB":
        for case in (BAD, "c5"):
            (tmp_path / name / f"{case}.nii.gz").unlink(missing_ok=True)
    for case in (BAD, "c5"):
        (tmp_path / "truth" / f"{case}.nii.gz").unlink()
    assert compare(capsys, tmp_path, *named)[2]["statistics"] == found["statistics"]


def test_where_no_case_can_be_measured_there_is_no_report(tmp_path, capsys):
    folders = write_runs(tmp_path)
    for case in CASES:
        (folders[0] / "fold_0" / "validation" / f"{case}.nii.gz").write_bytes(b"no image")
    assert main(["compare", "--folders", *map(str, folders), "-np", "1", "-o", str(tmp_path / "report")]) == 2
    assert "12 of 24 predictions cannot be measured:" in capsys.readouterr().err
    assert not (tmp_path / "report" / "summary.json").exists()


def test_a_picture_whose_image_is_cut_off_is_drawn_without_it_and_says_so(tmp_path, capsys, monkeypatch):
    folders = write_runs(tmp_path)
    raw = tmp_path / "raw" / "Dataset009_Toy" / "imagesTr"
    for case in CASES:
        write_mask(raw / f"{case}_0000.nii.gz", 9 * box(4))
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "raw"))
    status, error, _ = compare(capsys, tmp_path, "--folders", *folders)
    assert (status, error) == (0, "")
    for case in CASES:
        cut(raw / f"{case}_0000.nii.gz")
    status, error, found = compare(capsys, tmp_path, "--folders", *folders)
    assert status == 2
    assert "c3 has a picture without its image: " in error
    assert found["unmeasured"] == {}
    assert "The image itself cannot be shown: " in (tmp_path / "report" / "report.md").read_text()
