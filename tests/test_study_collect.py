"""A study's results without checkpoints: enough to go on on another machine, and nothing that was other counts."""

import csv
import json
import re
import shutil

import numpy as np
import pytest
import yaml
from compare_workspace import plans, write_mask, write_run
from nnunetv2.evaluation.evaluate_predictions import compute_metrics
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
from nnunetv2.utilities.crossval_split import generate_crossval_split

from nnunet_prosma.command import main
from nnunet_prosma.host.prepared import own_splits
from nnunet_prosma.host.training_log import read_training_logs
from nnunet_prosma.study.collected import place_of
from nnunet_prosma.study.record import Attempt, Record, write_record
from nnunet_prosma.study.runs import runs_of
from nnunet_prosma.study.setting import Setting
from nnunet_prosma.study.spec import Arm, Study, as_yaml, read
from nnunet_prosma.study.standing import standing, unlike
from nnunet_prosma.study.steps import collect_to, make_table

ARMS = (Arm("vanilla", "nnUNetTrainer"), Arm("gated", "nnUNetTrainerProSMA", published={"F1": 74.05}))
SPLITS = [{"train": ["c", "d"], "val": ["a", "b"]}, {"train": ["a", "b"], "val": ["c", "d"]}]
STUDY = Study("Two", ARMS, dataset="9", configuration="3d_fullres", folds=(0, 1), compare=("--tables-only",))


def ball(centre, size=(6, 10, 10)):
    grid = np.indices(size)
    mask = (sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)) < 9).astype(np.uint8)
    mask[3, 5, 5] = 2
    return mask


def measured(truth, prediction):
    found = compute_metrics(str(truth), str(prediction), SimpleITKIO(), [1, 2])["metrics"]
    return {label: {k: float(v) for k, v in values.items()} for label, values in found.items()}


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Makes a machine with the preprocessed data and, if asked, with the trainings of some folds."""

    def make(name, folds=(), splits=SPLITS):
        root = tmp_path / name
        data = root / "preprocessed" / "Dataset009_Toy"
        for variable in ("raw", "preprocessed", "results"):
            (root / variable).mkdir(parents=True)
            monkeypatch.setenv(f"nnUNet_{variable}", str(root / variable))
        for number, case in enumerate(sorted(splits[0]["train"] + splits[0]["val"])):
            write_mask(data / "gt_segmentations" / f"{case}.nii.gz", ball((3, 5, 4 + number % 2)))
        (data / "splits_final.json").write_text(json.dumps(splits))
        (data / "nnUNetPlans.json").write_text(json.dumps(plans()))
        described = {"labels": {"background": 0, "liver": 1, "tumour": 2}, "file_ending": ".nii.gz"}
        (data / "dataset.json").write_text(json.dumps({**described, "channel_names": {"0": "CT"}}))
        setting = Setting(STUDY, "Dataset009_Toy", data, root / "out", "cpu")
        for shift, arm in enumerate(ARMS):
            folder, cases = root / "results" / "Dataset009_Toy", {}
            for fold in folds:
                place = folder / f"{arm.trainer}__nnUNetPlans__3d_fullres" / f"fold_{fold}"
                for case in splits[fold]["val"]:
                    write_mask(place / "validation" / f"{case}.nii.gz", ball((3, 5 + shift, 4)))
                truth = data / "gt_segmentations"
                cases[str(fold)] = {
                    case: measured(truth / f"{case}.nii.gz", place / "validation" / f"{case}.nii.gz")
                    for case in splits[fold]["val"]
                }
            if folds:
                write_run(folder, arm.trainer, cases, truth=data / "gt_segmentations", epochs=1000)
                for fold in folds:
                    (folder / f"{arm.trainer}__nnUNetPlans__3d_fullres" / f"fold_{fold}" / "gates.csv").write_text(
                        "epoch"
                    )
        for run in runs_of(setting):
            if run.finished:
                done = Attempt("nnUNetv2_train", "n1", "t", state="finished", epochs_after=1000, exit=0)
                write_record(setting.output, Record(run.key, validated="final", attempts=[done]))
        return setting

    return make


def numbers(setting):
    return [line for line in (setting.output / "table.md").read_text().splitlines() if line.startswith("| ")]


def test_a_study_goes_on_elsewhere_from_what_was_collected(machine, tmp_path, capsys):
    whole = machine("whole", folds=(0, 1))
    assert make_table(whole, command="x") == []
    first, box = machine("first", folds=(0,)), tmp_path / "box"
    collect_to(first, box)
    assert "2 trainings in" in capsys.readouterr().out
    assert read(box / "study.yaml") == STUDY
    assert not list(box.rglob("*.pth")) + list(box.rglob("*.nii.gz"))
    for fold in box.rglob("fold_0"):
        assert sum(path.stat().st_size for path in fold.rglob("*") if path.is_file()) < 500_000
        assert (fold / "gates.csv").is_file()
    shutil.rmtree(tmp_path / "first")

    second = machine("second", folds=(1,))
    shutil.copytree(box, second.output, dirs_exist_ok=True)
    assert [standing(run, second) for run in runs_of(second)] == ["collected", "collected", "finished", "finished"]
    assert make_table(second, command="x") == []
    assert numbers(second) == numbers(whole)  # the curves' median times and all
    assert (second.output / "table.csv").read_text() == (whole.output / "table.csv").read_text()

    collect_to(second, box)  # and back: four in one box
    assert len(list(box.rglob("collected.json"))) == 4
    third = machine("third")
    shutil.copytree(box, third.output, dirs_exist_ok=True)
    assert main(["study", str(box / "study.yaml"), "-o", str(third.output), "--status", "--json"]) == 0
    found = json.loads(capsys.readouterr().out.partition("study.yaml -o ")[2].partition("\n")[2])
    assert [(run["state"], run["where"]) for run in found] == [("done", "collected")] * 4
    assert make_table(third, command="x") == []
    assert numbers(third) == numbers(whole)


def test_what_was_collected_keeps_its_record_where_the_study_that_collects_it_again_has_none(machine, tmp_path):
    setting, box = machine("first", folds=(0,)), tmp_path / "box"
    run = runs_of(setting)[0]
    collect_to(setting, box)
    kept = place_of(run, box) / "collected.json"
    (attempt,) = json.loads(kept.read_text())["record"]["attempts"]
    assert attempt["node"] == "n1"
    shutil.rmtree(setting.output / "runs")
    collect_to(setting, box)  # the trainings are still in nnUNet_results
    assert json.loads(kept.read_text())["record"]["attempts"] == [attempt]
    shutil.copytree(box, setting.output, dirs_exist_ok=True)
    collect_to(setting, tmp_path / "other")
    assert json.loads((place_of(run, tmp_path / "other") / "collected.json").read_text())["record"]["attempts"] == [
        attempt
    ]

    summary = run.folder / "validation" / "summary.json"
    summary.write_text(summary.read_text().replace("}", " }", 1))  # another training's
    collect_to(setting, box)
    assert json.loads(kept.read_text())["record"]["attempts"] == []


def test_a_debug_file_that_was_cut_off_leaves_question_marks_in_the_table(machine, tmp_path):
    setting = machine("whole", folds=(0, 1))
    fold = next(run.folder for run in runs_of(setting) if run.arm == ARMS[1])
    (fold / "debug.json").write_text('{"num_epochs": "10')
    wrong = make_table(setting, command="x")
    table = (setting.output / "table.md").read_text()
    assert re.search(r"\| vanilla \| nnUNetTrainer \| nnUNetPlans \| \d+ x", table)
    assert re.search(r"\| gated \| nnUNetTrainerProSMA \| nnUNetPlans \| \? x \? \|", table)
    assert any("debug.json" in sentence for sentence in wrong)  # compare names it


def test_a_damaged_prediction_is_named_and_its_case_left_out_of_every_method(machine, tmp_path, capsys):
    whole = machine("whole", folds=(0, 1))
    path = runs_of(whole)[-1].folder / "validation" / "d.nii.gz"  # of the gated network's second fold
    path.write_bytes(path.read_bytes()[:-20])
    (tmp_path / "study.yaml").write_text(as_yaml(STUDY))
    told = ["study", str(tmp_path / "study.yaml"), "-o", str(whole.output), "--no-training", "-device", "cpu"]
    assert main(told) == 2
    (said,) = capsys.readouterr().err.strip().splitlines()
    assert "fold 1" in said
    assert str(path) in said
    text = (whole.output / "table.md").read_text()
    assert "left out of every method (1)" in text
    assert str(path) in text
    with (whole.output / "table.csv").open() as file:
        images = {(row["method"], row["fold"]): row["images"] for row in csv.DictReader(file)}
    assert images == {("vanilla", "0"): "2", ("gated", "0"): "2", ("vanilla", "1"): "1", ("gated", "1"): "1"}


def damaged(path):
    path.write_bytes(path.read_bytes()[:-20])


def images_by_run(setting):
    with (setting.output / "table.csv").open() as file:
        return {(row["method"], row["fold"]): row["images"] for row in csv.DictReader(file)}


def test_collect_names_a_damaged_prediction_and_the_table_made_elsewhere_leaves_its_case_out_too(
    machine, tmp_path, capsys
):
    whole, box = machine("whole", folds=(0, 1)), tmp_path / "box"
    runs = runs_of(whole)
    damaged(runs[-1].folder / "validation" / "d.nii.gz")
    (runs[0].folder / "validation" / "summary.json").write_text("{")
    (tmp_path / "study.yaml").write_text(as_yaml(STUDY))
    told = ["study", str(tmp_path / "study.yaml"), "-o", str(whole.output), "-device", "cpu"]
    assert main([*told, "--collect", str(box)]) == 2
    out, err = capsys.readouterr()
    assert "3 trainings in" in out
    assert "fold 0, vanilla (nnUNetTrainer) is trained but not validated, or that was cut off: not collected" in out
    (sentence,) = err.strip().splitlines()
    assert "fold 1, gated" in sentence
    assert "d.nii.gz cannot be read" in sentence
    third = machine("third")
    shutil.copytree(box, third.output, dirs_exist_ok=True)
    (sentence,) = make_table(third, command="x")
    assert "fold 1" in sentence
    assert "d.nii.gz" in sentence
    assert images_by_run(third) == {("gated", "0"): "2", ("vanilla", "1"): "1", ("gated", "1"): "1"}


def test_a_run_of_which_nothing_can_be_read_leaves_its_fold_out_and_the_others_are_in_the_table(machine, tmp_path):
    whole = machine("whole", folds=(0, 1))
    for case in "cd":
        damaged(runs_of(whole)[-1].folder / "validation" / f"{case}.nii.gz")
    (sentence,) = make_table(whole, command="x")
    assert "no case can be measured" in sentence
    images = images_by_run(whole)
    assert (images["vanilla", "0"], images["gated", "0"]) == ("2", "2")
    assert set(images.values()) == {"2", "0"}


def test_status_is_told_beside_what_is_wrong_with_the_splits(machine, tmp_path, capsys):
    whole = machine("whole", folds=(0, 1))
    (tmp_path / "study.yaml").write_text(as_yaml(STUDY))
    told = ["study", str(tmp_path / "study.yaml"), "-o", str(whole.output), "--status", "-device", "cpu"]
    assert main(told) == 0
    before = capsys.readouterr().out
    whole.splits.write_text('[{"train": [], "val": [3]}]')
    assert main(told) == 2
    out, err = capsys.readouterr()
    assert out == before
    assert "4 of 4 done" in out
    assert "splits_final.json: $[0].val[0] must be text" in err


def test_the_curves_of_a_collected_log_are_those_of_the_whole_one(machine, tmp_path):
    setting = machine("first", folds=(0,))
    collect_to(setting, tmp_path / "box")
    run = runs_of(setting)[0]
    (fold,) = (tmp_path / "box").rglob("nnUNetTrainer__nnUNetPlans__3d_fullres/fold_0")
    assert read_training_logs(fold) == read_training_logs(run.folder)
    assert read_training_logs(fold).epochs == 1000
    kept = json.loads((fold / "collected.json").read_text())
    assert kept["record"]["attempts"][0]["node"] == "n1"
    assert set(kept["versions"]) == {"nnunet-prosma", "nnunetv2", "torch", "numpy", "python"}


def test_what_was_collected_counts_before_anything_made_the_splits_there_and_nothing_is_written(
    machine, tmp_path, capsys
):
    """By nnU-Net's own splits of the preprocessed data."""
    own = generate_crossval_split(list("abcdefghij"))
    collect_to(machine("first", folds=(0, 1), splits=own), tmp_path / "box")
    second = machine("second", splits=own)
    shutil.copytree(tmp_path / "box", second.output, dirs_exist_ok=True)
    second.splits.unlink()
    words = ["study", str(second.output / "study.yaml"), "-o", str(second.output)]
    assert main([*words, "--status"]) == 2
    data = second.preprocessed / "nnUNetPlans_3d_fullres"
    assert f"{data} holds no preprocessed data; make it first: nnUNetv2_preprocess -d 009" in capsys.readouterr().err
    data.mkdir()
    for case in "abcdefghij":
        (data / f"{case}.b2nd").touch()
    assert main([*words, "--status"]) == 0
    said = capsys.readouterr()
    assert "4 of 4 done" in said.out
    assert not said.err
    assert main([*words, "--no-training", "-device", "cpu"]) == 0
    assert (second.output / "compare" / "folds_0_1" / "summary.json").is_file()
    assert not second.splits.is_file()
    assert main([*words, "--no-training", "-device", "cpu"]) == 0  # a folder of collected runs alone is a study's

    (data / "k.b2nd").touch()
    own_splits.cache_clear()  # as in a new process
    assert main([*words, "--status"]) == 0
    said = capsys.readouterr()
    assert "0 of 4 done" in said.out
    assert "but with other settings (cases): it does not count" in said.err


@pytest.mark.parametrize("other", ["cases", "batch size", "checkpoint"])
def test_a_collected_run_with_other_settings_does_not_count_and_the_study_says_which(machine, tmp_path, other):
    from dataclasses import replace

    collect_to(machine("first", folds=(0,)), tmp_path / "box")
    second = machine("second")
    shutil.copytree(tmp_path / "box", second.output, dirs_exist_ok=True)
    assert standing(runs_of(second)[0], second) == "collected"
    if other == "cases":
        second.splits.write_text(json.dumps(SPLITS[::-1]))
    elif other == "batch size":
        (second.preprocessed / "nnUNetPlans.json").write_text(json.dumps(plans(batch_size=4)))
    else:
        second = replace(second, study=replace(STUDY, checkpoint="best"))
    assert standing(runs_of(second)[0], second) == "to train"
    said = unlike(runs_of(second), second)
    assert len(said) == 2
    assert f"but with other settings ({other}): it does not count" in said[0]


def test_nothing_finished_is_nothing_to_collect(machine, tmp_path, capsys):
    machine("bare")
    (tmp_path / "s.yaml").write_text(
        yaml.safe_dump(
            {
                "title": "t",
                "dataset": 9,
                "configuration": "3d_fullres",
                "folds": [0],
                "arms": [{"row": arm.row, "trainer": arm.trainer} for arm in ARMS],
            }
        )
    )
    words = ["study", str(tmp_path / "s.yaml"), "-o", str(tmp_path / "out"), "--collect", str(tmp_path / "box")]
    assert main([*words, "-device", "cpu"]) == 2
    assert "no training of this study is finished, so there is nothing to collect" in capsys.readouterr().err
