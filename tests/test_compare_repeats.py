"""Several trainings of one thing are one run; margins said beforehand; labels that a summary lacks."""

import json
import re

import numpy as np
import pytest
from compare_workspace import counts, status_of, write_mask, write_run

from nnunet_prosma import read_comparison
from nnunet_prosma.command import main
from nnunet_prosma.study.runs import runs_of
from nnunet_prosma.study.setting import Setting
from nnunet_prosma.study.spec import Arm, Study
from nnunet_prosma.study.steps import compare
from nnunet_prosma.study.table import differences

NAMES = {"background": 0, "liver": 1, "tumour": 2}
CASES = 20


def training(root, trainer, rng, shift):
    """Dice of two labels; cases differ, and the training moves all of them."""
    dice = np.random.default_rng(5).uniform(0.5, 0.7, (CASES, 2)) + shift + rng.normal(0, 0.01, (CASES, 2))
    cases = {f"c{i:02}": {k + 1: counts(float(dice[i, k])) for k in range(2)} for i in range(CASES)}
    return write_run(root, trainer, {"0": cases}, dataset_labels=NAMES), dice


def compared(root, *arguments, status=0):
    assert main(["compare", *map(str, arguments), "--tables-only", "-o", str(root / "report")]) == (
        status or status_of(root / "report")
    )
    return json.loads((root / "report" / "summary.json").read_text())


def test_trainings_of_one_thing_are_one_run_and_the_verdict_is_about_the_method(tmp_path, capsys):
    rng = np.random.default_rng(0)
    shifts = {"A": (0.0, 0.08, -0.06), "B": (0.05, 0.10, 0.02)}
    made = {t: [training(tmp_path / f"repeat_{r}", t, rng, s) for r, s in enumerate(of)] for t, of in shifts.items()}
    found = compared(tmp_path, "--folders", *(folder for of in made.values() for folder, _ in of))
    first = found["statistics"][0]
    assert (first["baseline"], first["candidate"]) == ("A", "B")
    assert first["trainings"] == {"baseline": 3, "candidate": 3}
    a, b = (np.array([dice.mean(1) for _, dice in made[t]]) for t in "AB")
    assert first["mean_difference"] == pytest.approx(b.mean() - a.mean())
    between = a.mean(1).var(ddof=1) / 3 + b.mean(1).var(ddof=1) / 3
    assert first["crossed"]["from_trainings"] == pytest.approx(between, rel=0.02)
    interval = first["mean_interval"]
    assert interval["high"] - interval["low"] > 2 * 2.5 * between**0.5
    assert found["verdicts"]["B"]["outcome"] == "no difference shown"
    assert found["verdicts"]["B"]["of_methods"]
    assert "about the methods" in found["caveat"]
    assert len(found["runs"]) == 6
    assert "Over 20 cases, 3 and 3 trainings, no difference" in capsys.readouterr().out
    page = (tmp_path / "report" / "report.md").read_text()
    assert "## Trainings" in page
    assert "% trainings" in page
    assert "interval, and Wilcoxon's p in summary.json, hold for the choice of cases alone" in page


def test_one_training_each_of_the_same_numbers_is_called_different_and_about_these_models(tmp_path):
    rng = np.random.default_rng(0)
    runs = [training(tmp_path, t, rng, shift)[0] for t, shift in (("A", 0.0), ("B", 0.05))]
    found = compared(tmp_path, "--folders", *runs)
    assert found["verdicts"]["B"]["outcome"] == "better"
    assert "these trained models" in found["caveat"]


def test_repeats_are_looked_up_in_further_results_folders(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for r in range(3):
        for t in "AB":
            training(tmp_path / f"repeat_{r}" / "Dataset009_Toy", t, rng, 0.0)
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "repeat_0"))
    roots = [tmp_path / f"repeat_{r}" for r in range(3)]
    found = compared(tmp_path, "Dataset009_Toy", "3d_fullres", "A", "B", "--repeats", *roots)
    assert found["statistics"][0]["trainings"] == {"baseline": 3, "candidate": 3}


def test_further_results_folders_beside_folders_are_refused(tmp_path, capsys):
    named = ["--folders", "A", "B", "--repeats", "more", "--tables-only", "-o", str(tmp_path / "report")]
    assert main(["compare", *named]) == 2
    assert "with --folders, give the repeats' folders to --folders too" in capsys.readouterr().err


def test_misses_false_alarms_and_nnunets_mean_are_those_of_each_training(tmp_path):
    names = {"background": 0, "liver": 1}
    found, missed, absent, alarm = counts(0.8), counts(0.0, n_pred=0), counts(None, 0, 0), counts(0.0, 0, 7)
    trained = {
        ("A", 1): {"x": found, "y": missed, "z": alarm},
        ("A", 2): {"x": found, "y": found, "z": absent},
        ("B", 1): {"x": found, "y": found, "z": absent},
        ("B", 2): {"x": missed, "y": missed, "z": absent},
    }
    folders = [
        write_run(tmp_path / str(n), t, {"0": {c: {1: v} for c, v in cases.items()}}, dataset_labels=names)
        for (t, n), cases in trained.items()
    ]
    summary = compared(tmp_path, "--folders", *folders)
    single = ["A, training 1", "A, training 2", "B, training 1", "B, training 2"]
    assert summary["empty_masks_of"] == [run["name"] for run in summary["runs"]] == single
    (liver,) = summary["empty_masks"]
    assert (liver["present"], liver["absent"]) == (2, 1)
    assert (liver["misses"], liver["false_alarms"]) == ([1, 0, 0, 2], [1, 0, 0, 0])
    means = {name: of["liver"] for name, of in summary["nnunet_mean_dice"].items()}
    assert means == pytest.approx(dict(zip(single, (0.8 / 3, 0.8, 0.8, 0.0), strict=True)))
    assert summary["nnunet_foreground_mean"] == pytest.approx(means)
    page = (tmp_path / "report" / "report.md").read_text()
    assert "| liver | B, training 2 | 2 | 1 | 1 | 0 | 2 |" in page
    assert "| A | 0.533 | 0.533 |" in page  # (0.8 / 3 + 0.8) / 2
    assert "Counted for each training" in page
    rows = {(r["case"], r["run"], r["training"]): r for r in read_comparison(tmp_path / "report").cases}
    assert len(rows) == 3 * 4
    assert [rows["y", run, n]["dice"] for run in "AB" for n in "12"] == [0, 0.8, 0.8, 0]
    assert rows["y", "A", "1"]["masks"] == "only prediction empty"
    assert rows["z", "A", "1"]["masks"] == "only truth empty"


def test_methods_that_differ_by_the_same_in_every_case_and_training_have_no_conclusion_for_that_reason(tmp_path):
    names = {"background": 0, "liver": 1}
    folders = [
        write_run(tmp_path / str(n), t, {"0": {f"c{i:02}": {1: counts(d)} for i in range(12)}}, dataset_labels=names)
        for n in range(2)
        for t, d in (("A", 0.5), ("B", 0.75))
    ]
    sentence = compared(tmp_path, "--folders", *folders)["verdicts"]["B"]["sentence"]
    assert "no conclusion: all differences are equal, so nothing tells by how much others might differ" in sentence


def test_pictures_are_of_the_first_trainings_and_say_so(tmp_path, monkeypatch):
    titles = []
    monkeypatch.setattr("nnunet_prosma.report.drawing.draw", lambda *_: [])
    monkeypatch.setattr("nnunet_prosma.compare.pictures.render", lambda *a: titles.append(a[3]) or b"a picture")
    truth = np.zeros((3, 4, 12), np.uint8)
    truth[1, 2, :4] = 1
    write_mask(tmp_path / "truth" / "x.nii.gz", truth)
    folders = []
    for number in range(2):
        for trainer, size in (("A", 4), ("B", 2)):
            measured = {1: counts(2 * size / (4 + size), 4, size)}
            root = tmp_path / str(number)
            folder = write_run(root, trainer, {"0": {"x": measured}}, dataset_labels={"background": 0, "rod": 1},
                               truth=tmp_path / "truth")  # fmt: skip
            write_mask(folder / "fold_0" / "validation" / "x.nii.gz", truth * (np.arange(12) < size))
            folders.append(str(folder))
    assert main(["compare", "--folders", *folders, "-np", "1", "-o", str(tmp_path / "report")]) == 1
    assert titles == [["image", "ground truth", "A, training 1", "B, training 1"]]
    assert "Of a run that was trained several times the first training is drawn" in (
        (tmp_path / "report" / "report.md").read_text()
    )


def test_json_is_all_that_stands_on_stdout_if_it_is_asked_for(tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    for t in "AB":
        training(tmp_path / "Dataset009_Toy", t, rng, 0.0)
    monkeypatch.setenv("nnUNet_results", str(tmp_path))
    named = ["-d", "Dataset009_Toy", "-c", "3d_fullres", "-tr", "A", "B"]
    written = compared(tmp_path, *named, "--json", "-", "-np", "1")
    assert json.loads(capsys.readouterr().out) == written


def test_trainings_of_one_thing_alone_are_held_against_each_other(tmp_path):
    rng = np.random.default_rng(0)
    runs = [training(tmp_path / str(r), "A", rng, 0.0)[0] for r in range(2)]
    found = compared(tmp_path, "--folders", *runs)
    assert found["statistics"][0]["trainings"] == {"baseline": 1, "candidate": 1}


@pytest.mark.parametrize(
    ("shift", "margin", "within", "says"),
    [
        (0.0, 0.01, "equivalent", "A and B are equivalent|B and A are equivalent"),
        (0.02, 0.01, "not inferior", r"B is not inferior to A by a margin of 0\.010"),
        (-0.02, 0.01, "open", "Neither equivalence nor non-inferiority is shown"),
        (0.0, 0.0001, "open", "Neither equivalence nor non-inferiority is shown"),
    ],
)
def test_a_margin_said_beforehand_is_judged_by_the_interval(tmp_path, shift, margin, within, says):
    rng = np.random.default_rng(1)
    runs = [training(tmp_path, t, rng, s)[0] for t, s in (("A", 0.0), ("B", shift))]
    found = compared(tmp_path, "--folders", *runs, "--margin", f"dice={margin}")["verdicts"]["B"]
    assert found["within"] == within
    assert re.search(says, found["sentence"]), found["sentence"]


@pytest.mark.parametrize(
    ("given", "says"),
    [("0.01", "takes METRIC=X"), ("iou=0.01", "for the primary metric, dice"), ("dice=0", "larger than 0")],
)
def test_a_margin_that_cannot_be_is_refused(tmp_path, capsys, given, says):
    rng = np.random.default_rng(1)
    runs = [str(training(tmp_path, t, rng, 0.0)[0]) for t in "AB"]
    assert main(["compare", "--folders", *runs, "--tables-only", "-o", str(tmp_path / "r"), "--margin", given]) == 2
    assert says in capsys.readouterr().err


def test_a_label_that_one_summary_lacks_is_an_error_and_left_out_if_it_is_allowed(tmp_path, capsys):
    rng = np.random.default_rng(1)
    runs = [training(tmp_path, t, rng, 0.0)[0] for t in "AB"]
    path = runs[1] / "fold_0" / "validation" / "summary.json"
    content = json.loads(path.read_text())
    del content["metric_per_case"][3]["metrics"]["2"]
    path.write_text(json.dumps(content))
    command = ["compare", "--folders", *map(str, runs), "--tables-only", "-o", str(tmp_path / "report")]
    assert main(command) == 2
    assert "The summary of B lacks the label tumour in the case c03" in capsys.readouterr().err
    found = compared(tmp_path, "--folders", *runs, "--allow", "labels")
    assert found["labels"] == ["liver"]
    assert any("lacks the label tumour" in finding["sentence"] for finding in found["findings"])


def test_a_study_compares_each_repeat_and_all_of_them_as_one_run_an_arm(tmp_path):
    rng = np.random.default_rng(0)
    arms = tuple(Arm(trainer, trainer) for trainer in "AB")
    study = Study("t", arms, configuration="3d_fullres", folds=(0,), repeats=3, compare=("--tables-only",))
    setting = Setting(study, "Dataset009_Toy", tmp_path, tmp_path / "out", "cpu")
    setting.splits.write_text(json.dumps([{"train": [], "val": [f"c{i:02}" for i in range(CASES)]}]))
    for repeat, trainer in ((1, "A"), (1, "B"), (2, "A"), (2, "B"), (3, "A")):  # the third is not whole
        training(tmp_path / "out" / "results" / f"repeat_{repeat}" / "Dataset009_Toy", trainer, rng, 0.0)
    finished = [run for run in runs_of(setting) if run.folder.is_dir()]
    reports, wrong = compare(finished, setting)
    assert wrong == []
    assert list(reports) == ["repeat 1, fold 0", "repeat 2, fold 0", "all repeats, fold 0"]
    found = [json.loads((report / "summary.json").read_text())["statistics"][0] for report in reports.values()]
    assert [row["trainings"]["candidate"] for row in found] == [1, 1, 2]
    assert found[2]["mean_difference"] == pytest.approx((found[0]["mean_difference"] + found[1]["mean_difference"]) / 2)
    assert "The rows of all repeats do tell that" in "".join(differences(study, reports))
