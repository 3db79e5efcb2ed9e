"""Input that cannot be used: one clear sentence and status 2, and nothing lost of what was measured."""

import json
import shutil

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from compare_workspace import status_of, write_mask, write_run
from nnunetv2.evaluation.evaluate_predictions import compute_metrics
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

from nnunet_prosma.command import main
from nnunet_prosma.compare.tables import write_tables

NAMES = ("case_0", "case_1", "case_2")


def ball(centre):
    grid = np.indices((6, 10, 10))
    mask = (sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)) < 9).astype(np.uint8)
    mask[3, 5, 5] = 2
    return mask


def measured(truth, prediction):
    """One case as nnU-Net writes it into summary.json."""
    found = compute_metrics(str(truth), str(prediction), SimpleITKIO(), [1, 2])["metrics"]
    return {label: {k: float(v) for k, v in values.items()} for label, values in found.items()}


@pytest.fixture
def two_runs(tmp_path):
    """Two runs with real files, as nnU-Net measured them."""
    for number, name in enumerate(NAMES):
        write_mask(tmp_path / "truth" / f"{name}.nii.gz", ball((3, 5, 4 + number % 2)))
    folders = []
    for shift, trainer in enumerate(("nnUNetTrainer", "nnUNetTrainerProSMA")):
        place = tmp_path / f"{trainer}__nnUNetPlans__3d_fullres" / "fold_0" / "validation"
        for number, name in enumerate(NAMES):
            write_mask(place / f"{name}.nii.gz", ball((3, 5 + shift, 4 + number % 2)))
        cases = {n: measured(tmp_path / "truth" / f"{n}.nii.gz", place / f"{n}.nii.gz") for n in NAMES}
        folders.append(write_run(tmp_path, trainer, {"0": cases}))
    return folders


@pytest.fixture
def compare(two_runs, tmp_path, capsys):
    def call(*arguments):
        named = ["--folders", *map(str, two_runs), "-o", str(tmp_path / "report"), "--workers", "1"]
        status = main(["compare", *named, *arguments])
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        if status == 2:
            return status, printed.err
        assert status == status_of(tmp_path / "report")
        return 0, printed.out  # three cases give a report without a conclusion

    return call


def test_what_is_whole_is_compared(compare, tmp_path):
    assert compare()[0] == 0
    header = (tmp_path / "report" / "cases.csv").read_text().splitlines()[0]
    assert header == "case,fold,label,run,dice,iou,nsd,hd95_mm,volume_percent,n_ref,n_pred,masks"


def damage(what, folder):
    summary = folder / "fold_0" / "validation" / "summary.json"
    prediction = folder / "fold_0" / "validation" / "case_1.nii.gz"
    if what == "truncated summary.json":
        summary.write_text(summary.read_text()[:-40])
    elif what == "summary.json of something else":
        summary.write_text('{"metric_per_case": [{"Dice": 1}]}')
    elif what == "truncated plans.json":
        (folder / "plans.json").write_text("{")
    elif what == "missing plans.json":
        (folder / "plans.json").unlink()
    elif what == "missing prediction":
        prediction.unlink()
    elif what == "unreadable prediction":
        prediction.write_bytes(b"no image")
    elif what == "other size":
        write_mask(prediction, np.ones((6, 10, 9)))
    elif what == "other spacing":
        write_mask(prediction, ball((3, 6, 5)), (2, 1, 1))
    elif what == "other place":
        image = sitk.ReadImage(str(prediction))
        image.SetOrigin((5, 0, 0))
        sitk.WriteImage(image, str(prediction))
    elif what == "changed since":
        write_mask(prediction, ball((3, 4, 4)))


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("truncated summary.json", "summary.json cannot be read ("),
        ("summary.json of something else", "summary.json: $.metric_per_case[0].prediction_file is missing"),
        ("truncated plans.json", "plans.json cannot be read"),
        ("missing plans.json", "holds no plans.json"),
        ("missing prediction", "case_1 is left out: "),
        ("unreadable prediction", "case_1.nii.gz cannot be read: "),
        ("other size", "case_1 is left out: it has 6 x 10 x 9 voxels, its ground truth 6 x 10 x 10"),
        ("other spacing", "case_1 is left out: it has a spacing of 2 x 1 x 1, its ground truth 1 x 1 x 1"),
        ("other place", "case_1 is left out: its origin is 5 x 0 x 0, that of its ground truth 0 x 0 x 0"),
        ("changed since", "The case case_1 of nnUNetTrainerProSMA changed since nnU-Net measured"),
    ],
)
def test_each_damage_is_one_clear_sentence(compare, two_runs, what, sentence):
    damage(what, two_runs[1])
    status, printed = compare()
    assert status == 2
    assert sentence in printed


def test_what_was_measured_before_a_problem_is_kept_and_not_measured_again(compare, two_runs, tmp_path, monkeypatch):
    prediction = two_runs[1] / "fold_0" / "validation" / "case_1.nii.gz"
    kept = shutil.move(prediction, tmp_path / "kept.nii.gz")
    assert compare()[0] == 2
    assert len((tmp_path / "report" / "cache" / "surfaces.jsonl").read_text().splitlines()) == 5
    shutil.move(kept, prediction)
    count = counted_reads(monkeypatch)
    assert compare()[0] == 0
    assert count() == 2  # the one that was missing, and its truth


def counted_reads(monkeypatch):
    read, calls = SimpleITKIO.read_seg, []
    monkeypatch.setattr(SimpleITKIO, "read_seg", lambda self, path: calls.append(path) or read(self, path))
    monkeypatch.setattr(
        "nnunet_prosma.compare.command.write_report", lambda found, to, **_: write_tables(found, to) or []
    )
    return lambda: len(calls)


def test_a_second_run_reads_no_image_and_finds_the_same(compare, tmp_path, monkeypatch):
    compare()
    first = (tmp_path / "report" / "cases.csv").read_text()
    count = counted_reads(monkeypatch)
    assert compare()[0] == 0
    assert count() == 0
    assert (tmp_path / "report" / "cases.csv").read_text() == first


def test_a_line_that_a_kill_cut_off_is_measured_again(compare, tmp_path, monkeypatch):
    compare()
    cache = tmp_path / "report" / "cache" / "surfaces.jsonl"
    cache.write_text(cache.read_text()[:-30])
    count = counted_reads(monkeypatch)
    assert compare()[0] == 0
    assert count() == 2
    assert len([json.loads(line) for line in cache.read_text().splitlines()[-1:]]) == 1


def test_another_tolerance_is_measured_anew(compare, monkeypatch):
    compare()
    count = counted_reads(monkeypatch)
    assert compare("--tolerance", "1", "tumour=3")[0] == 0
    assert count() == 12


def test_several_workers_find_what_one_finds(compare, tmp_path):
    compare()
    one = (tmp_path / "report" / "cases.csv").read_text()
    shutil.rmtree(tmp_path / "report")
    assert compare("--workers", "2")[0] == 0
    assert (tmp_path / "report" / "cases.csv").read_text() == one


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--tolerance", "spleen=2"], "there is no label 'spleen'; there are liver, tumour"),
        (["--tolerance", "two"], "--tolerance takes numbers and LABEL=NUMBER, not 'two'"),
        (["--tolerance", "-1"], "must be a number from 0 on"),
        (["--worse-by", "0.1"], "--worse-by takes METRIC=X"),
        (["--worse-by", "f1=0.1"], "there is no metric 'f1'"),
        (["--tables-only", "--primary", "nsd"], "nsd is a surface metric, which --tables-only leaves out"),
        (["-f", "0", "3"], "lacks fold 3"),
        (["--seed", "-1"], "--seed must be at least 0, got -1"),
    ],
)
def test_a_wrong_option_is_one_clear_sentence(compare, arguments, sentence):
    if "-1" in arguments:
        arguments = [f"{arguments[0]}={arguments[1]}"]
    status, printed = compare(*arguments)
    assert status == 2
    assert sentence in printed


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["9", "3d_fullres", "nnUNetTrainer"], "at least two trainers"),
        (["--folders", "here"], "at least two results folders"),
        (["--folders", "here", "there"], "here is not a folder"),
        (["9", "3d_fullres", "A", "B", "--folders", "x", "y"], "not both"),
        (["9", "3d_fullres", "A", "B"], "nnUNet_results is not set"),
    ],
)
def test_runs_that_are_not_there_are_one_clear_sentence(tmp_path, monkeypatch, capsys, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("nnUNet_results", raising=False)
    assert main(["compare", "-o", "report", *arguments]) == 2
    assert sentence in capsys.readouterr().err


def test_a_report_that_cannot_be_written_is_one_clear_sentence(two_runs, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    folders = map(str, two_runs)
    assert main(["compare", "--folders", *folders, "-o", str(tmp_path / "file" / "report")]) == 2
    assert "report cannot be written: " in capsys.readouterr().err


def test_a_run_is_not_compared_with_itself(two_runs, tmp_path, capsys):
    same = str(two_runs[0])
    assert main(["compare", "--folders", same, same, "-o", str(tmp_path / "report")]) == 2
    assert "given twice" in capsys.readouterr().err
