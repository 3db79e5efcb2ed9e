"""Several data sets in one report, against statsmodels' meta-analysis and by the command line."""

import json
import shutil

import numpy as np
import pytest
from browser import CHROMIUM, Browser
from compare_workspace import counts, status_of, write_run
from statsmodels.stats.meta_analysis import combine_effects

from nnunet_prosma.command import main
from nnunet_prosma.statistics.random_effects import random_effects


@pytest.mark.parametrize("seed", [0, 1, 3])  # of 2, statsmodels' iteration finds no variance though there is one
def test_the_overall_estimate_is_that_of_statsmodels_with_hartung_and_knapps_error(seed):
    rng = np.random.default_rng(seed)
    y, error = rng.normal(0.02, 0.03, 6), rng.uniform(0.004, 0.02, 6)
    expected = combine_effects(y, error**2, method_re="iterated", use_t=True, atol=1e-14, maxiter=1000)
    found = random_effects(y, error)
    assert found.between == pytest.approx(expected.tau2, abs=1e-8)
    assert found.mean == pytest.approx(expected.mean_effect_re, abs=1e-6)
    hksj = expected.sd_eff_w_re_hksj
    plain = np.sqrt(1 / (1 / (error**2 + found.between)).sum())
    assert found.error == pytest.approx(max(hksj, plain), rel=1e-4)


@pytest.mark.parametrize("seed", [1, 2, 3])  # of 0 they are less without any
def test_the_variance_between_data_sets_makes_the_weighted_squares_what_they_must_be(seed):
    rng = np.random.default_rng(seed)
    y, error = rng.normal(0.02, 0.03, 6), rng.uniform(0.004, 0.02, 6)
    weights = 1 / (error**2 + random_effects(y, error).between)
    assert (weights * (y - np.average(y, weights=weights)) ** 2).sum() == pytest.approx(5)


def test_data_sets_that_agree_have_no_variance_between_them_and_two_have_no_prediction():
    found = random_effects([0.02, 0.021], [0.01, 0.01])
    assert found.between == 0
    assert found.error == pytest.approx(0.01 / 2**0.5)
    assert found.prediction is None


def test_the_interval_covers_the_mean_over_data_sets_in_95_percent_of_repeats():
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(2000):
        error = rng.uniform(0.005, 0.02, 5)
        found = random_effects(rng.normal(0.01, np.hypot(0.02, error)), error)
        covered.append(found.interval.low <= 0.01 <= found.interval.high)
    assert abs(np.mean(covered) - 0.95) < 0.02


def report(root, dataset, shift, seed, cases=20):
    """A report of one data set, tables alone."""
    rng = np.random.default_rng(seed)
    names = {"background": 0, "liver": 1}
    folders = []
    for trainer, mean in (("A", 0.6), ("B", 0.6 + shift)):
        dice = mean + rng.normal(0, 0.03, cases)
        content = {"0": {f"c{i:02}": {1: counts(float(d))} for i, d in enumerate(dice)}}
        folder = write_run(root / dataset, trainer, content, dataset_labels=names)
        plans = json.loads((folder / "plans.json").read_text())
        (folder / "plans.json").write_text(json.dumps({**plans, "dataset_name": dataset}))
        folders.append(str(folder))
    output = root / f"report_{dataset}"
    assert main(["compare", "--folders", *folders, "--tables-only", "-o", str(output)]) == status_of(output)
    return output


def test_a_page_over_data_sets_has_their_estimates_and_says_that_they_are_few(tmp_path, capsys):
    shifts = {"Dataset001_X": 0.05, "Dataset002_Y": 0.02, "Dataset003_Z": -0.01}
    reports = [report(tmp_path, name, shift, i) for i, (name, shift) in enumerate(shifts.items())]
    capsys.readouterr()
    assert main(["compare", "--across", *map(str, reports), "-o", str(tmp_path / "all")]) == 0
    said = capsys.readouterr().out
    assert "ahead in 2 of 3" in said
    assert "These are 3 data sets and no sample of all" in said
    (found,) = json.loads((tmp_path / "all" / "across.json").read_text())["comparisons"]
    for one, folder in zip(found["data_sets"], reports, strict=True):
        row = json.loads((folder / "summary.json").read_text())["statistics"][0]
        assert one["mean_difference"] == row["mean_difference"]
        spread = row["mean_interval"]["high"] - row["mean_interval"]["low"]
        assert one["error"] == pytest.approx(spread / 2 / 2.093, rel=0.15)
    assert found["shares"]["trainings"] is None
    assert found["shares"]["data sets"] + found["shares"]["cases"] == pytest.approx(1)
    assert (tmp_path / "all" / "figures" / "forest_1.png").is_file()
    html = (tmp_path / "all" / "report.html").read_text()
    assert "Dataset002_<wbr>Y" in html
    assert "Dice of B minus that of A" in html


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium")
def test_the_forest_of_data_sets_is_a_plot_among_others_and_names_are_broken_between_words(tmp_path, capsys):
    reports = [report(tmp_path, f"Dataset00{i}_ManyLongWordsInOneNameOfADataSet", 0.02, i) for i in (1, 2)]
    assert main(["compare", "--across", *map(str, reports), "-o", str(tmp_path / "all")]) == 0
    lines = "[...document.querySelectorAll('tbody th')].map(t => t.innerText)"
    with Browser(tmp_path / "profile") as browser:
        browser.open(tmp_path / "all" / "report.html", 1280)
        assert browser.overflowing() == browser.problems == []
        assert browser.ask("document.querySelector('figure').getBoundingClientRect().width") < 700
        assert browser.ask(lines) == [f"Dataset00{i}_ManyLongWordsInOneNameOfADataSet" for i in (1, 2)]


def test_a_studys_folder_stands_for_its_report_and_that_over_all_repeats_goes_first(tmp_path, capsys):
    first, second = report(tmp_path, "Dataset001_X", 0.02, 0), report(tmp_path, "Dataset002_Y", 0.03, 1)
    alone, repeated = tmp_path / "alone" / "compare", tmp_path / "repeated" / "compare"
    (alone / "cache").mkdir(parents=True)
    shutil.copytree(first, alone / "folds_0_1")
    for name in ("repeat_1_folds_0_1", "all_repeats_folds_0_1"):
        shutil.copytree(second, repeated / name)
    named = ["--across", str(alone.parent), str(repeated.parent), "--tables-only", "-o", str(tmp_path / "all")]
    assert main(["compare", *named]) == 0
    found = json.loads((tmp_path / "all" / "across.json").read_text())["comparisons"][0]["data_sets"]
    assert [d["name"] for d in found] == ["Dataset001_X", "Dataset002_Y"]
    capsys.readouterr()
    shutil.copytree(first, alone / "fold_0")
    assert main(["compare", *named]) == 2
    assert "holds 2 reports (fold_0, folds_0_1), and --across takes one a data set: name one" in capsys.readouterr().err


OTHER = {
    "hd95 in px": ("hd95", {"unit": "px"}, {}, "one unit for hd95, not mm in Dataset001_X; px in Dataset002_Y"),
    "a miss": (
        "hd95",
        {},
        {"hd95_of_a_miss": "diagonal"},
        "one --hd95-of-a-miss for hd95, not left-out in Dataset001_X; diagonal in Dataset002_Y",
    ),
    "nsd": (
        "nsd",
        {},
        {"tolerance": "2 mm"},
        "one --tolerance for nsd, not 1 mm in Dataset001_X; 2 mm in Dataset002_Y",
    ),
}


@pytest.mark.parametrize("name", OTHER)
def test_what_is_measured_in_another_way_is_not_pooled_but_dice_still_is(tmp_path, capsys, name):
    metric, of_row, of_settings, says = OTHER[name]
    reports = [report(tmp_path, dataset, 0.02, i) for i, dataset in enumerate(("Dataset001_X", "Dataset002_Y"))]
    common = {"tolerance": "1 mm", "hd95_of_a_miss": "left-out"}
    for folder, row, settings in zip(reports, ({}, of_row), ({}, of_settings), strict=True):
        summary = json.loads((folder / "summary.json").read_text())
        summary["settings"] |= common | settings
        (folder / "dice").mkdir()
        (folder / "dice" / "summary.json").write_text(json.dumps(summary))
        for line in summary["statistics"]:
            line |= {"metric": metric, "unit": "mm" if metric == "hd95" else "", **row} if line["primary"] else {}
        (folder / "summary.json").write_text(json.dumps(summary))
    named = ["--tables-only", "-o", str(tmp_path / "all")]
    assert main(["compare", "--across", *map(str, reports), *named]) == 2
    assert says in capsys.readouterr().err
    assert main(["compare", "--across", *(str(folder / "dice") for folder in reports), *named]) == 0


def test_what_is_settled_in_the_reports_is_not_taken_and_then_passed_over(tmp_path, capsys):
    named = ["compare", "--across", "X", "Y", "-o", str(tmp_path / "all"), "--tables-only"]
    for option, name in (
        ("-f 0", "folds"),
        ("--tolerance 2", "tolerance"),
        ("--primary hd95 --seed 3", "primary, seed"),
    ):
        assert main([*named, *option.split()]) == 2
        assert f"in which {name} cannot be changed" in capsys.readouterr().err


def test_reports_that_do_not_belong_together_are_refused(tmp_path, capsys):
    first = report(tmp_path, "Dataset001_X", 0.0, 0)
    few = report(tmp_path, "Dataset002_Y", 0.0, 1, cases=8)
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "summary.json").write_text("{}")
    for reports, says in (
        ([first], "at least two reports"),
        ([first, first], "Dataset001_X is in two reports"),
        ([first, few], "Dataset002_Y: B has no interval"),
        ([first, tmp_path / "none"], "is no summary.json of nnunet-prosma compare"),
        ([first, tmp_path / "absent"], "absent"),
    ):
        assert main(["compare", "--across", *map(str, reports), "-o", str(tmp_path / "all")]) == 2
        assert says in capsys.readouterr().err
        assert not (tmp_path / "all").exists()
