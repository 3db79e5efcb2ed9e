"""Each kind of mismatch: said in one sentence that names it, and refused where it makes a comparison meaningless."""

import json
import re

import pytest
from compare_workspace import LABELS, counts, status_of, train_again, write_run

from nnunet_prosma.command import main
from nnunet_prosma.compare.fairness import some
from nnunet_prosma.compare.setups import flatten
from nnunet_prosma.host.marks import mark_validated

BOTH = {1: counts(0.8), 2: counts(0.7)}
FOLDS = {"0": {"a": BOTH, "b": BOTH}, "1": {"c": BOTH, "d": BOTH}}


@pytest.fixture(autouse=True)
def _no_plots(monkeypatch):
    monkeypatch.setattr("nnunet_prosma.report.drawing.draw", lambda *_: [])


@pytest.fixture
def compare(tmp_path, capsys):
    """Compares a baseline with a run that differs from it in what is given; (status, printed, summary.json).

    The status is 0 where there is a report; that its own is 1 where that has no conclusion is seen here.
    """

    def call(folds=FOLDS, *arguments, baseline=None, **differences):
        first = write_run(tmp_path, "nnUNetTrainer", **{"folds": FOLDS, **(baseline or {})})
        second = write_run(tmp_path, "nnUNetTrainerProSMA", folds, **differences)
        named = ["--folders", str(first), str(second), "-o", str(tmp_path / "report"), "--tables-only"]
        status = main(["compare", *named, *arguments])
        printed = capsys.readouterr()
        summary = tmp_path / "report" / "summary.json"
        if status != 2:
            assert status == status_of(tmp_path / "report")
            return 0, printed.err or printed.out, json.loads(summary.read_text())
        return status, printed.err or printed.out, json.loads(summary.read_text()) if summary.is_file() else None

    return call


def kinds(summary):
    return {finding["kind"] for finding in summary["findings"]}


def test_runs_that_differ_in_nothing_but_the_trainer_have_no_finding(compare):
    status, _, summary = compare()
    assert status == 0
    assert summary["findings"] == []


MEANINGLESS = {
    "cases": ({"folds": {**FOLDS, "1": {"c": BOTH, "e": BOTH}}}, r"ProSMA was not validated on the case d"),
    "cases in another fold": (
        {"folds": {"0": {"a": BOTH, "c": BOTH}, "1": {"b": BOTH, "d": BOTH}}},
        r"validated 2 cases: b, c in other folds",
    ),
    "folds": ({"folds": {"0": FOLDS["0"]}}, r"nnUNetTrainerProSMA lacks fold 1"),
    "labels": (
        {"dataset_labels": {"background": 0, "liver": 2, "tumour": 1}},
        r"other labels: liver = 1, tumour = 2 against tumour = 1, liver = 2",
    ),
    "labels, an ignored one": (
        {"dataset_labels": {**LABELS, "ignore": 3}},
        r"liver = 1, tumour = 2 against liver = 1, tumour = 2, ignore = 3",
    ),
    "truth": (
        {"folds": {**FOLDS, "0": {"a": {1: counts(0.8, n_ref=101), 2: counts(0.7)}, "b": BOTH}}},
        r"ground truth of the case a changed",
    ),
    "unfinished": ({"finished": False}, r"no checkpoint_final.pth: fold 0 after 3 of 3 epochs, fold 1 after 3"),
}


@pytest.mark.parametrize("name", MEANINGLESS)
def test_what_makes_a_comparison_meaningless_is_refused_in_a_sentence(compare, name):
    differences, sentence = MEANINGLESS[name]
    status, printed, summary = compare(**differences)
    assert status == 2
    assert re.search(sentence, printed), printed
    assert "Traceback" not in printed
    assert summary is None


@pytest.mark.parametrize("name", MEANINGLESS)
def test_it_is_compared_nevertheless_on_request_and_the_report_says_so(compare, tmp_path, name):
    differences, sentence = MEANINGLESS[name]
    differences = dict(differences)
    kind = re.match(r"\w+", name)[0]
    status, printed, summary = compare(differences.pop("folds", FOLDS), "--allow", kind, **differences)
    assert status == 0, printed
    assert any(f["kind"] == kind and f["allowed"] and re.search(sentence, f["sentence"]) for f in summary["findings"])
    assert "compared only because of --allow" in (tmp_path / "report" / "report.html").read_text()


def test_a_validation_from_before_a_second_training_is_not_taken_for_its_own(compare, tmp_path):
    compare()
    fold = tmp_path / "nnUNetTrainerProSMA__nnUNetPlans__3d_fullres" / "fold_1"
    train_again(fold)
    status, printed, _ = compare()
    assert status == 2
    assert "ProSMA was trained again after the validation that lies in fold 1, which so is of other weights" in printed
    _, _, summary = compare(FOLDS, "--allow", "retrained")
    assert kinds(summary) == {"retrained"}
    (fold / "training_log_2026_3_10_09_00_00.txt").write_text("2026-03-10 09:00:00.1: Validation complete \n")
    assert compare()[2]["findings"] == []


def test_only_what_both_runs_have_is_compared_when_cases_or_folds_are_allowed_to_differ(compare):
    _, _, summary = compare({"0": {"a": BOTH, "x": BOTH}}, "--allow", "cases", "folds")
    assert (summary["cases"], summary["folds"]) == (1, ["0"])


def test_several_mismatches_are_all_said_at_once(compare):
    status, printed, _ = compare({"0": FOLDS["0"]}, finished=False, dataset_labels={"background": 0, "liver": 1})
    assert status == 2
    assert all(text in printed for text in ("lacks fold 1", "checkpoint_final.pth", "other labels"))
    assert "--allow folds, unfinished, labels" in printed


def test_runs_that_share_nothing_cannot_be_compared_at_all(compare):
    status, printed, _ = compare({"0": {"x": BOTH}, "1": {"y": BOTH}}, "--allow", "cases")
    assert status == 2
    assert "share no validated case in folds 0, 1" in printed


OTHER_NETWORK = {"network_class_name": "other", "arch_kwargs": {}, "_kw_requires_import": []}
DIFFERENCES = {
    "network": ({"plan_changes": {"architecture": OTHER_NETWORK}}, "network"),
    "preprocessing": ({"plan_changes": {"spacing": [2.0, 1.0, 1.0]}}, "preprocessing"),
    "plans": ({"plan_changes": {"batch_size": 4}}, "plans"),
    "epochs": ({"debug": {"num_epochs": "250"}}, "schedule"),
    "iterations": ({"debug": {"num_iterations_per_epoch": "100"}}, "schedule"),
    "epochs in the log": ({"epochs": 2, "debug": {"num_epochs": "3"}}, "schedule"),
    "torch": ({"debug": {"torch_version": "2.9.0"}}, "versions"),
    "GPU": ({"debug": {"gpu_name": "H200"}}, "versions"),
}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_what_else_differs_is_listed_before_any_table(compare, tmp_path, name):
    differences, kind = DIFFERENCES[name]
    status, _, summary = compare(**differences)
    assert status == 0
    assert kinds(summary) == {kind}
    page = (tmp_path / "report" / "report.html").read_text()
    assert page.index(summary["findings"][0]["sentence"].split(" (")[0]) < page.index("<table")


def test_versions_of_nnunet_are_compared_where_they_are_recorded(compare, tmp_path):
    _, _, summary = compare(debug={"nnunet_version": "2.9.0"})
    assert summary["findings"] == []
    page = (tmp_path / "report" / "report.html").read_text()
    assert "The version of nnU-Net is not recorded for nnUNetTrainer." in page
    _, _, summary = compare(debug={"nnunet_version": "2.9.0"}, baseline={"debug": {"nnunet_version": "2.8.1"}})
    sentences = [f["sentence"] for f in summary["findings"]]
    assert sentences == ["Version of nnU-Net: 2.8.1 in nnUNetTrainer, 2.9.0 in nnUNetTrainerProSMA."]
    assert "is not recorded" not in (tmp_path / "report" / "report.html").read_text()


def test_plans_that_differ_are_shown_as_a_diff(compare):
    _, _, summary = compare(plan_changes={"batch_size": 4})
    assert summary["findings"][0]["lines"] == ["- batch_size: 2", "+ batch_size: 4"]


def test_an_address_in_memory_is_no_difference(compare):
    same = {"loss": "<DeepSupervisionWrapper at 0x7f01>"}
    _, _, summary = compare(debug={"loss": "<DeepSupervisionWrapper at 0x9a02>"}, baseline={"debug": same})
    assert summary["findings"] == []


def test_the_sizes_of_the_training_sets_are_compared(compare, tmp_path):
    compare()
    log = next(tmp_path.glob("nnUNetTrainerProSMA__*/fold_0/training_log*"))
    log.write_text(log.read_text().replace("8 training", "6 training"))
    first, second = (str(next(tmp_path.glob(f"{t}__*"))) for t in ("nnUNetTrainer", "nnUNetTrainerProSMA"))
    assert main(["compare", "--folders", first, second, "-o", str(tmp_path / "again"), "--tables-only"]) == 0
    findings = json.loads((tmp_path / "again" / "summary.json").read_text())["findings"]
    assert [f["sentence"] for f in findings] == [
        "Training cases: 8 in nnUNetTrainer, 6 in nnUNetTrainerProSMA in fold 0."
    ]


def test_the_checkpoints_that_were_validated_are_compared(compare, tmp_path):
    """nnU-Net marks neither: where there is no mark its default is meant, the final one."""
    compare()
    folders = [tmp_path / f"{name}__nnUNetPlans__3d_fullres" for name in ("nnUNetTrainer", "nnUNetTrainerProSMA")]
    for fold in ("fold_0", "fold_1"):
        mark_validated(folders[1] / fold, "checkpoint_final.pth")
    assert compare()[2]["findings"] == []
    mark_validated(folders[1] / "fold_1", "checkpoint_best.pth")
    _, _, summary = compare()
    (finding,) = summary["findings"]
    assert finding["kind"] == "checkpoint"
    assert finding["sentence"] == (
        "Checkpoint that was validated: checkpoint_final.pth in nnUNetTrainer, checkpoint_best.pth in "
        "nnUNetTrainerProSMA in fold 1."
    )
    assert summary["badges"]["nnUNetTrainerProSMA"]["kind"] == "differs"


def test_fingerprints_are_compared_whatever_their_bytes(compare, tmp_path):
    compare()
    folders = [next(tmp_path.glob(f"{trainer}__*")) for trainer in ("nnUNetTrainer", "nnUNetTrainerProSMA")]
    for folder, content in zip(folders, (b"\xff\xfe", b"{}"), strict=True):
        (folder / "dataset_fingerprint.json").write_bytes(content)
    named = ["--folders", *map(str, folders), "-o", str(tmp_path / "again"), "--tables-only"]
    assert main(["compare", *named]) == status_of(tmp_path / "again")
    assert kinds(json.loads((tmp_path / "again" / "summary.json").read_text())) == {"fingerprint"}


def test_another_data_set_is_refused(compare, tmp_path):
    compare()
    plans = next(tmp_path.glob("nnUNetTrainerProSMA__*")) / "plans.json"
    plans.write_text(plans.read_text().replace("Dataset009_Toy", "Dataset010_Other"))
    first = next(tmp_path.glob("nnUNetTrainer__*"))
    named = ["compare", "--folders", str(first), str(plans.parent), "-o", str(tmp_path / "again"), "--tables-only"]
    assert main(named) == 2
    assert main([*named, "--allow", "dataset"]) == 0


def test_a_fold_validated_on_its_training_cases_is_said_to_be(compare):
    status, _, summary = compare({"all": FOLDS["0"]}, baseline={"folds": {"all": FOLDS["0"]}})
    assert status == 0
    assert "trained and validated on the same cases" in summary["findings"][0]["sentence"]


def test_a_case_in_two_folds_is_refused(compare):
    status, printed, _ = compare({"0": {"a": BOTH, "b": BOTH}, "1": {"a": BOTH, "d": BOTH}})
    assert status == 2
    assert "validates the case a in the folds 0 and 1" in printed


def test_flatten_names_each_leaf_by_its_path():
    assert flatten({"a": {"b": 1, "c": {}}, "d": [1, 2]}) == {"a.b": "1", "a.c": "{}", "d": "[1, 2]"}


def test_many_cases_are_not_all_named():
    assert some(["a"]) == "the case a"
    assert some(list("abcdefg"), shown=3) == "7 cases: a, b, c and 4 more"
