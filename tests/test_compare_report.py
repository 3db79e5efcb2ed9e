"""What the report says and shows, for few and for many cases and labels, on a phone and on a desk."""

import json
import re

import numpy as np
import pytest
from browser import CHROMIUM, Browser
from compare_workspace import counts, random_run, status_of, write_run

from nnunet_prosma.command import main
from nnunet_prosma.compare.plots import fence
from nnunet_prosma.report.drawing import for_page


def report(root, *runs, arguments=()):
    named = ["--folders", *map(str, runs), "-o", str(root / "report"), "--no-images"]
    assert main(["compare", *named, *arguments]) == status_of(root / "report")
    return root / "report"


def differing(root, differences, n_ref=None):
    """Two runs with one label whose Dice differs by these."""
    names = {"background": 0, "liver": 1}
    cases = [{f"c{i:03}": {1: counts(0.5)} for i in range(len(differences))},
             {f"c{i:03}": {1: counts(0.5 + d)} for i, d in enumerate(differences)}]  # fmt: skip
    runs = [write_run(root, t, {"0": c}, dataset_labels=names) for t, c in zip(("A", "B"), cases, strict=True)]
    return json.loads((report(root, *runs) / "summary.json").read_text())


NOISE = np.random.default_rng(0).normal(0, 0.05, 40)


@pytest.mark.parametrize(
    ("differences", "says"),
    [
        (0.1 + NOISE, r"^Over 40 cases, B has a better Dice of liver than A: 0\.597 against 0\.500, .*interval \+0"),
        (-0.1 + NOISE, r"B has a worse Dice of liver than A"),
        (NOISE - NOISE.mean(), r"no difference in Dice of liver is shown .* p = 1\.000\. That is not evidence"),
        (0.1 + NOISE[:12], r"With fewer than 30 cases, rare large differences can be missed altogether"),
        (0.1 + NOISE[:5], r"^Over 5 cases, no conclusion: 5 cases are too few for an interval \(10 are needed\)"),
        (0.1 + NOISE[:1], r"no conclusion: 1 case is too few for an interval \(10 are needed\)"),
        (
            np.zeros(20),
            r"^Over 20 cases, B and A have the same Dice of liver in every case\. Nothing that is recorded",
        ),
    ],
)
def test_the_verdict_claims_no_more_than_test_and_interval_show(tmp_path, monkeypatch, differences, says):
    monkeypatch.setattr("nnunet_prosma.report.drawing.draw", lambda *_: [])
    sentence = differing(tmp_path, differences)["verdicts"]["B"]["sentence"]
    assert re.search(says, sentence), sentence


def test_differences_that_are_all_equal_have_no_interval_for_that_reason(tmp_path, monkeypatch):
    monkeypatch.setattr("nnunet_prosma.report.drawing.draw", lambda *_: [])
    sentence = differing(tmp_path, [0.25] * 12)["verdicts"]["B"]["sentence"]
    assert "mean difference +0.2500, no interval (all differences are equal), p < 0.001" in sentence
    assert "That is not evidence that they are equal (ahead in 12 of them" in sentence
    page = (tmp_path / "report" / "report.md").read_text()
    assert "+0.2500 (all differences are equal)" in page
    assert "too few differ" not in page


def test_where_iou_is_the_question_dice_is_shown_without_a_test_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr("nnunet_prosma.report.drawing.draw", lambda *_: [])
    runs = [random_run(tmp_path, t, cases=12, labels=1, seed=s) for s, t in enumerate("AB")]
    folder = report(tmp_path, *runs, arguments=("--primary", "iou"))
    rows = {r["metric"]: r for r in json.loads((folder / "summary.json").read_text())["statistics"]}
    assert (rows["dice"]["p"], rows["dice"]["no_test"]) == (None, "no test: one question with IoU")
    assert (rows["iou"]["role"], rows["iou"]["no_test"]) == ("primary", "")
    assert "Dice beside IoU asks nothing new" in (folder / "report.md").read_text()


def test_too_few_cases_have_a_reason_in_the_place_of_a_p_value(tmp_path, monkeypatch):
    monkeypatch.setattr("nnunet_prosma.report.drawing.draw", lambda *_: [])
    found = differing(tmp_path, [0.1, 0.2, 0.3])
    assert found["statistics"][0]["wilcoxon"]["p"] is None
    assert "no test: 3 cases differ, 6 are needed" in (tmp_path / "report" / "report.md").read_text()


def test_wins_losses_and_large_losses_are_counted_in_the_direction_of_the_metric(tmp_path, monkeypatch):
    monkeypatch.setattr("nnunet_prosma.report.drawing.draw", lambda *_: [])
    names = {"background": 0, "liver": 1}
    first = write_run(tmp_path, "A", {"0": {c: {1: counts(0.8, 100, 100)} for c in "uvwx"}}, dataset_labels=names)
    answers = {"u": counts(0.9, 100, 100), "v": counts(0.8, 100, 150), "w": counts(0.76, 100, 95), "x": counts(0.74)}
    second = write_run(tmp_path, "B", {"0": {c: {1: m} for c, m in answers.items()}}, dataset_labels=names)
    rows = json.loads((report(tmp_path, first, second) / "summary.json").read_text())["statistics"]
    dice, volume = (next(r for r in rows if r["metric"] == m) for m in ("dice", "volume"))
    assert (dice["wins"], dice["ties"], dice["losses"], dice["worse"]) == (1, 1, 2, 1)
    assert (volume["wins"], volume["ties"], volume["losses"], volume["worse"]) == (0, 2, 2, 1)
    report(tmp_path, first, second, arguments=("--worse-by", "dice=0.01"))
    rows = json.loads((tmp_path / "report" / "summary.json").read_text())["statistics"]
    assert rows[0]["worse"] == 2


def test_the_question_asked_beforehand_is_a_family_of_its_own_and_gates_all_others(tmp_path, monkeypatch):
    monkeypatch.setattr("nnunet_prosma.report.drawing.draw", lambda *_: [])
    runs = [random_run(tmp_path, t, cases=40, labels=2, seed=s) for s, t in enumerate(("A", "B", "C"))]
    rows = json.loads((report(tmp_path, *runs) / "summary.json").read_text())["statistics"]
    first = {r["candidate"]: r for r in rows if r["role"] == "primary"}
    assert list(first) == ["B", "C"]
    assert all(r["mean_interval"]["level"] == pytest.approx(0.975) for r in first.values())
    assert max(r["p_corrected"] for r in first.values()) == max(r["p"] for r in first.values())
    others = [r for r in rows if r["role"] == "secondary"]
    assert {r["metric"] for r in others} == {"dice", "volume"}
    assert all(r["p_corrected"] >= max(r["p"], first[r["candidate"]]["p_corrected"]) for r in others)
    assert all(r["p"] is None for r in rows if r["metric"] == "iou")


def test_where_the_test_alone_sees_a_difference_nothing_is_claimed_and_that_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("nnunet_prosma.report.drawing.draw", lambda *_: [])
    found = differing(tmp_path, [0.3] * 4 + [0.001] * 6)["verdicts"]["B"]
    assert (found["outcome"], found["agree"]) == ("no difference shown", False)
    assert "The test alone would call it a difference" in found["sentence"]
    assert "better" not in found["sentence"]


def test_two_reports_of_the_same_runs_are_the_same(tmp_path):
    runs = [random_run(tmp_path, t, cases=20, labels=2, seed=s) for s, t in enumerate(("A", "B"))]
    first = {p.name: p.read_bytes() for p in report(tmp_path, *runs).rglob("*.*") if p.is_file()}
    second = {p.name: p.read_bytes() for p in report(tmp_path, *runs).rglob("*.*") if p.is_file()}
    assert first == second
    assert {"report.html", "report.md", "cases.csv", "summary.json", "dice.csv", "scatter_B_1.png"} <= first.keys()


def test_names_from_files_cannot_break_the_page(tmp_path):
    names = {"background": 0, "<b>$x^2$ & 肝": 1}
    cases = {f"<i>{i}": {1: counts(0.5 + i / 100)} for i in range(12)}
    runs = [write_run(tmp_path, t, {"0": cases}, dataset_labels=names) for t in ("A", "B")]
    page = (report(tmp_path, *runs) / "report.html").read_text()
    assert "<b>$x" not in page
    assert "&lt;b&gt;$x^2$ &amp; 肝" in page


def test_a_far_outlier_does_not_squeeze_a_plot_and_nothing_is_cut_without_one():
    values = np.linspace(0, 1, 50)
    assert fence(values) == (0, 1)
    low, high = fence(np.append(values, 40))
    assert low == 0
    assert high == pytest.approx(2, rel=0.1)


def test_a_plot_in_a_page_has_its_colours_and_ids_of_its_own():
    inline = for_page('<?xml?><svg width="9pt" height="9pt"><path id="a" fill="#1b1b1e"/><use href="#a"/></svg>', "n")
    assert inline == '<svg><path id="n-a" fill="var(--ink)"/><use href="#n-a"/></svg>'


SIZES = [(5, 1), (50, 5), (1000, 1), (50, 40)]


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium")
@pytest.mark.parametrize(("cases", "labels"), SIZES)
def test_the_page_has_no_console_error_and_nothing_overflows_on_phone_or_desk(tmp_path, cases, labels):
    changes = {"plan_changes": {"batch_size": 4, "a_very_long_name_of_a_setting" * 3: list(range(60))}}
    runs = [
        random_run(tmp_path, "nnUNetTrainer", cases=cases, labels=labels, seed=1),
        random_run(tmp_path, "nnUNetTrainerWithAVeryLongNameThatGoesOn", cases=cases, labels=labels, seed=2, **changes),
    ]
    page = report(tmp_path, *runs) / "report.html"
    with Browser(tmp_path / "profile") as browser:
        for width in (390, 1280):
            for dark in (False, True):
                browser.open(page, width, dark)
                browser.ask("document.querySelectorAll('details').forEach(d => d.open = true)")
                assert browser.overflowing() == []
                assert browser.ask("getComputedStyle(document.body).backgroundColor") == (
                    "rgb(23, 23, 26)" if dark else "rgb(255, 255, 255)"
                )
        requested = browser.ask("performance.getEntriesByType('resource').map(e => e.name).join()")
        assert all(name.startswith("data:") for name in requested.split(",") if name)
    assert browser.problems == []


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium")
def test_the_browser_would_have_seen_an_error_and_an_overflow(tmp_path):
    page = tmp_path / "page.html"
    page.write_text('<body><div style="width: 2000px">wide</div><script>console.error("seen")</script>')
    with Browser(tmp_path / "profile") as browser:
        browser.open(page, 390)
        assert browser.overflowing()
        browser.ask("1")
    assert any("seen" in problem for problem in browser.problems)


def test_no_interval_of_a_bounded_metric_leaves_what_its_mean_can_be(tmp_path):
    """Eight cases lost whole and two hardly: a studentised interval of so few is wider than a Dice can differ."""
    lost = [0.80 + n / 100 for n in range(8)] + [0.02, 0.04]
    for trainer, dice in (("nnUNetTrainer", lost), ("nnUNetTrainerProSMA", [0.0] * 10)):
        cases = {f"case{n}": {1: counts(value), 2: counts(value)} for n, value in enumerate(dice)}
        write_run(tmp_path, trainer, {"0": cases})
    folders = [str(tmp_path / f"{name}__nnUNetPlans__3d_fullres") for name in ("nnUNetTrainer", "nnUNetTrainerProSMA")]
    main(["compare", "--folders", *folders, "-o", str(tmp_path / "report"), "--tables-only"])
    rows = json.loads((tmp_path / "report" / "summary.json").read_text())["statistics"]
    (interval,) = (r["mean_interval"] for r in rows if (r["metric"], r["role"]) == ("dice", "primary"))
    assert (interval["low"], interval["high"]) == (-1.0, 1.0)
