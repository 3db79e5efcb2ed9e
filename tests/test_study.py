"""A study through nnU-Net's real commands, on converted data: killed, stopped, gone on with."""

import csv
import json
import re
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from compare_workspace import train_again
from nnunetv2.imageio.natural_image_reader_writer import NaturalImage2DIO
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from PIL import Image
from workspace import EXTENSION

from nnunet_prosma.command import main
from nnunet_prosma.errors import InputError
from nnunet_prosma.host.marks import mark_validated
from nnunet_prosma.metrics import count_folder, scores_of
from nnunet_prosma.study import SHIPPED, names
from nnunet_prosma.study.runs import Run, command, state
from nnunet_prosma.study.setting import Setting
from nnunet_prosma.study.spec import Arm, Study, as_yaml, read

STUDY = {
    "title": "Two rows",
    "dataset": 502,
    "folds": [0],
    "checkpoint": "best",
    "compare": ["--tables-only"],
    "arms": [
        {"row": "without", "trainer": "nnUNetTrainerPUNetNoGateShort", "published": {"F1": 74.05}},
        {"row": "with", "trainer": "nnUNetTrainerPUNetShort", "plans": "narrowPlans", "published": {"F1": "80.13 ± 1"}},
    ],
}


def write_glas(folder, count=20, size=(40, 36)):
    folder.mkdir()
    rng = np.random.default_rng(0)
    for n in range(1, count + 1):
        left, top = rng.integers(2, 14, 2)
        mask = np.zeros(size[::-1], np.uint8)
        mask[top : top + 16, left : left + 18] = 1
        image = (90 + 100 * mask[..., None] + rng.integers(-40, 40, (*mask.shape, 3))).astype(np.uint8)
        Image.fromarray(image).save(folder / f"train_{n}.bmp")
        Image.fromarray(mask).save(folder / f"train_{n}_anno.bmp")


def narrow_plans(preprocessed):
    """Plans that name a P-UNET with few channels, as a user would write them."""
    plans = json.loads((preprocessed / "nnUNetPlans.json").read_text())
    plans["plans_name"] = "narrowPlans"
    configuration = plans["configurations"]["2d"]
    configuration["patch_size"], configuration["batch_size"] = [32, 32], 2
    configuration["architecture"] = {
        "network_class_name": "nnunet_prosma.architectures.PUNet",
        "arch_kwargs": {"conv_op": "torch.nn.modules.conv.Conv2d", "features_per_stage": [8] * 5, "gate": {"lam": 0.1}},
        "_kw_requires_import": ["conv_op"],
    }
    (preprocessed / "narrowPlans.json").write_text(json.dumps(plans))


@pytest.mark.slow
def test_a_study_is_killed_and_stopped_and_goes_on_to_its_table(workspace, monkeypatch):
    write_glas(workspace.path / "Warwick")
    workspace.run("nnunet-prosma", "convert", "glas", workspace.path / "Warwick", 502, "--size", 32)
    said = workspace.run(
        "nnUNetv2_plan_and_preprocess", "-d", 502, "-c", "2d", "-np", 1, "-npfp", 1, "--verify_dataset_integrity"
    )
    assert "verify_dataset_integrity Done" in said
    preprocessed = workspace.preprocessed / "Dataset502_GlaS"
    folds = json.loads((workspace.raw / "Dataset502_GlaS" / "splits_final.json").read_text())
    assert json.loads((preprocessed / "splits_final.json").read_text()) == folds
    narrow_plans(preprocessed)
    planned = (preprocessed / "nnUNetPlans.json").read_text()
    (workspace.path / "study.yaml").write_text(yaml.safe_dump(STUDY))
    words = ("study", workspace.path / "study.yaml", "-o", workspace.path / "out", "-device", "cpu")
    results = workspace.results / "Dataset502_GlaS"
    first = results / "nnUNetTrainerPUNetNoGateShort__nnUNetPlans__2d" / "fold_0"
    second = results / "nnUNetTrainerPUNetShort__narrowPlans__2d" / "fold_0"

    # one training alone, killed in its second epoch
    key = "nnUNetTrainerPUNetNoGateShort__nnUNetPlans__2d__fold_0"
    said = workspace.run("nnunet-prosma", *words, "--run", key, status=2, SHORT_TRAINER_DIES_IN="1")
    assert re.search(r"nnUNetv2_train ended with status -9 .* its whole output is in .*fold_0.txt", said)
    assert not (first / "checkpoint_final.pth").exists()
    said = workspace.run("nnunet-prosma", *words, "--status", "--json")
    runs = json.loads(said[said.index("[\n") :])
    assert [(run["state"], run["epoch"], run["epochs"]) for run in runs] == [("failed", 1, 2), ("waiting", 0, None)]
    assert "ended with status -9" in runs[0]["why"]

    # it goes on; and while the next one trains, the study is stopped
    log = workspace.path / "out" / "logs" / "nnUNetTrainerPUNetShort__narrowPlans__2d__fold_0.txt"
    program = [workspace.python.with_name("nnunet-prosma"), *map(str, words)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    study = subprocess.Popen(program, env=workspace.environment(), **pipes)
    while study.poll() is None and not log.exists():
        time.sleep(0.1)
    study.send_signal(signal.SIGINT)
    said, _ = study.communicate(timeout=1800)
    assert study.returncode == 130, said
    assert "fold 0, without (nnUNetTrainerPUNetNoGateShort): to continue" in said
    assert f"stopped; the same command goes on from here: nnunet-prosma {' '.join(map(str, words))}" in said
    assert (first / "validation" / "summary.json").is_file()
    assert not (second / "checkpoint_final.pth").exists()
    assert not list(results.glob("*/.fold_*.lock"))  # nothing is left at work
    stopped = json.loads((workspace.path / "out" / "runs" / f"{second.parent.name}__fold_0.json").read_text())
    assert stopped["attempts"][0]["state"] == "stopped"

    said = workspace.run("nnunet-prosma", *words)
    assert "without (nnUNetTrainerPUNetNoGateShort): finished" in said
    assert "with (nnUNetTrainerPUNetShort): to train" in said
    record = json.loads((workspace.path / "out" / "runs" / f"{key}.json").read_text())
    assert [(a["state"], a["exit"]) for a in record["attempts"]] == [("failed", -9), ("finished", 0)]
    assert record["restarts"] == 1
    named = "nnUNetv2_train Dataset502_GlaS 2d 0 -tr nnUNetTrainerPUNetNoGateShort -p nnUNetPlans -device cpu"
    assert record["attempts"][1]["command"] == f"{named} --c --val_best"
    for folder in (first, second):
        epochs = [
            epoch
            for path in sorted(folder.glob("training_log_*.txt"))
            for epoch in re.findall(r": Epoch time|: Epoch (\d+)", path.read_text())
            if epoch
        ]
        assert epochs == (["0", "1", "1"] if folder == first else ["0", "1"])  # the epoch that was cut off again

    table = (workspace.path / "out" / "table.md").read_text()
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.split("In percent")[0].splitlines()]
    rows = {line[0]: line for line in lines if line}
    assert rows["without"][1:3] == ["–", "74.05"]
    assert rows["with"][1:3] == ["–", "80.13 ± 1"]
    dice = {}
    for row, folder in (("without", first), ("with", second)):
        summary = json.loads((folder / "validation" / "summary.json").read_text())
        dice[row] = 100 * summary["foreground_mean"]["Dice"]
    assert re.search(rf"\| {dice['without']:.2f} \|.* 0 \|", table)
    assert f"| fold 0 | with | 4 | {dice['with'] - dice['without']:+.2f} |" in table
    assert "2 x 2" in table  # epochs of two batches of 8 for 16 images, and
    assert "2 x 8" in table  # of eight batches of 2
    with (workspace.path / "out" / "table.csv").open() as file:
        written = {(line["method"], line["pooling"]) for line in csv.DictReader(file)}
    assert written == {(row, pooling) for row in ("without", "with") for pooling in ("image", "batch", "dataset")}
    assert (workspace.path / "out" / "compare" / "fold_0" / "report.html").is_file()

    # the best checkpoint was kept by the number that the metrics have for it, but for nnU-Net's half precision
    counts = count_folder(second / "validation", preprocessed / "gt_segmentations", folds[0]["val"])[1]
    said = "".join(path.read_text() for path in second.glob("training_log_*.txt"))
    logged = re.findall(r"Validation IoU, pooled over each batch: ([\d.]+\d)", said)
    assert max(map(float, logged[-2:])) == pytest.approx(scores_of(list(counts.values()), 2)["batch"].iou, abs=5e-3)

    # what the trainer changed is in the model's plans, and nowhere else
    saved = json.loads((first.parent / "plans.json").read_text())["configurations"]["2d"]
    assert (saved["patch_size"], saved["batch_size"]) == ([32, 32], 8)
    assert saved["nnunet_prosma"]["gate"]["kind"] == "none"
    assert (preprocessed / "nnUNetPlans.json").read_text() == planned

    # nnU-Net predicts with it from that folder alone, without mirroring, as it validated
    case = folds[0]["val"][0]
    monkeypatch.setenv("nnUNet_extTrainer", str(EXTENSION))
    predictor = nnUNetPredictor(device=torch.device("cpu"), perform_everything_on_device=False, allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(second.parent), (0,), "checkpoint_best.pth")
    picture, properties = NaturalImage2DIO().read_images(
        [str(workspace.raw / "Dataset502_GlaS" / "imagesTr" / f"{case}_0000.png")]
    )
    predicted = predictor.predict_single_npy_array(picture, properties)
    with Image.open(second / "validation" / f"{case}.png") as validated:
        assert np.array_equal(predicted[0], np.asarray(validated))


def test_every_shipped_study_can_be_read_shown_and_named(capsys):
    assert names() == [
        *("nnunet-plain", "nnunet-resenc", "table1-busi", "table1-glas", "table1-kvasir"),
        *("table2-colon", "table2-spleen", "table3"),
    ]
    assert main(["study", "--list"]) == 0
    listed = capsys.readouterr().out
    from nnunet_prosma import trainers

    for name in names():
        study = read(SHIPPED / f"{name}.yaml", dataset="9")
        assert study.title in listed
        assert study.checkpoint == ("final" if name.startswith("nnunet") else "best")
        assert all(hasattr(trainers, arm.trainer) or arm.trainer == "nnUNetTrainer" for arm in study.arms)
        assert main(["study", name, "--show"]) == 0
        assert yaml.safe_load(capsys.readouterr().out)["title"] == study.title


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[1] / "docs" / "results").glob("*.yaml")), ids=lambda p: p.stem
)
def test_the_studies_behind_the_results_in_the_documents_are_studies(path):
    assert read(path).dataset


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 3}, "unknown setting 'epochs'; known are title, arms, dataset"),
        ({"arms": []}, "arms must be a list of at least one row"),
        ({"arms": [{"row": "a"}]}, "arm 1 lacks trainer"),
        ({"arms": [{"row": "a", "trainer": "T"}, {"row": "b", "trainer": "T"}]}, "two arms are the same trainer"),
        ({"arms": [{"row": "a", "trainer": "T"}, {"row": "a", "trainer": "U"}]}, "two arms have the same row"),
        ({"arms": [{"row": "a", "trainer": "T", "published": {"Dice": 1}}]}, "may hold IoU and F1, not 'Dice'"),
        ({"checkpoint": "latest"}, "checkpoint must be one of best, final, got 'latest'"),
        ({"folds": [0, -1]}, "folds must be whole numbers from 0 on"),
        ({"folds": 3}, "folds must be a list, got 3"),
        ({"folds": [1, 1]}, "a fold stands twice in [1, 1]; for several trainings of one use repeats"),
        ({"label": "one"}, "label must be the number of one of the data set's labels, got 'one'"),
        ({"repeats": 0}, "repeats must be a whole number from 1 to 1000, got 0"),
        ({"title": 3}, "title must be text, got 3"),
        ({"arms": [{"row": "a", "trainer": 7}]}, "trainer of an arm must be text, got 7"),
        ({"arms": [{"row": "a", "trainer": "T", "published": 3}]}, "published must hold IoU and F1, got 3"),
        ({"compare": [["--nope"]]}, "compare must list options of nnunet-prosma compare, got [['--nope']]"),
    ],
)
def test_a_study_that_cannot_be_meant_is_refused(tmp_path, change, message):
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump({**STUDY, **change}))
    with pytest.raises(InputError, match=re.escape(message)):
        read(path)


def test_the_command_line_is_stronger_than_the_file_and_the_file_must_be_there(tmp_path, capsys):
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(STUDY))
    assert read(path, dataset="7", folds=[2]).folds == (2,)
    assert read(path, dataset="7").dataset == "7"
    for said, meant in (("027", "27"), ("27", "27"), ("'027'", "027"), ("Dataset027_ACDC",) * 2):
        path.write_text(yaml.safe_dump({**STUDY, "dataset": None}).replace("dataset: null", f"dataset: {said}"))
        assert read(path).dataset == meant  # and not 23, as YAML 1.1 has it
    path.write_text("title: [")
    assert main(["study", str(path), "-o", "x"]) == 2
    assert "cannot be read as YAML" in capsys.readouterr().err
    assert main(["study", "table4", "-o", "x"]) == 2
    assert "there is no file table4 and no study of that name; --list shows nnunet-plain" in capsys.readouterr().err


def test_what_is_missing_is_told_before_anything_is_trained(tmp_path, monkeypatch):
    from nnunet_prosma.study.check import check

    for name in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / name))
    folder = tmp_path / "preprocessed" / "Dataset005_Toy"
    folder.mkdir(parents=True)
    study = Study("t", (Arm("a", "nnUNetTrainer"),), dataset="5", folds=(2,))
    with pytest.raises(InputError, match="nnU-Net knows no data set 6"):
        check(Study("t", study.arms, dataset="6"))
    with pytest.raises(InputError, match=r"nnUNetPlans.json is missing; plan and preprocess"):
        check(study)
    (folder / "nnUNetPlans.json").write_text(json.dumps({"configurations": {"2d": {}}}))
    described = {"labels": {"background": 0, "a": 1, "b": 2}, "file_ending": ".png", "channel_names": {"0": "r"}}
    (folder / "dataset.json").write_text(json.dumps(described))
    with pytest.raises(InputError, match="has no configuration 3d_fullres, but 2d"):
        check(Study("t", study.arms, dataset="5", configuration="3d_fullres"))
    (folder / "splits_final.json").write_text(json.dumps([{"train": [], "val": []}] * 2))
    with pytest.raises(InputError, match=r"fold 2 is not in .* which has folds 0 to 1"):
        check(study)
    with pytest.raises(InputError, match="nnU-Net finds no trainer 'nnUNetTrainerNope'"):
        check(Study("t", (Arm("a", "nnUNetTrainerNope"),), dataset="5", folds=(0,)))
    with pytest.raises(InputError, match="the study's compare: unrecognized arguments: --nope"):
        check(Study("t", study.arms, dataset="5", folds=(0,), compare=("--nope",)))
    with pytest.raises(InputError, match="the data set has no label 3; its labels are 1, 2"):
        check(Study("t", study.arms, dataset="5", folds=(0,), label=3))
    assert check(Study("t", study.arms, dataset="5", folds=(1,))) == ("Dataset005_Toy", folder)


def test_nnunets_own_marks_say_how_far_a_run_is(tmp_path):
    run = Run(Arm("a", "T"), 0, tmp_path / "T__nnUNetPlans__2d" / "fold_0")
    best, final = Study("t", (run.arm,), checkpoint="best"), Study("t", (run.arm,))
    run.folder.mkdir(parents=True)
    assert state(run, final, None) == "to train"
    (run.folder / "checkpoint_best.pth").touch()
    assert state(run, final, None) == "to continue"
    (run.folder / "checkpoint_final.pth").touch()
    assert state(run, final, None) == "to validate"
    (run.folder / "validation").mkdir()
    (run.folder / "validation" / "summary.json").write_text('{"metric_per')
    assert state(run, final, None) == "to validate"  # it was killed while nnU-Net wrote that
    (run.folder / "validation" / "summary.json").write_text('{"metric_per_case": []}')
    assert state(run, final, None) == "finished"
    assert state(run, best, None) == "to validate"  # nnU-Net's default was validated
    assert state(run, best, "best") == "finished"
    assert state(run, final, "best") == "to validate"
    mark_validated(run.folder, "checkpoint_best.pth")  # by another study, which this one's record does not know of
    assert state(run, final, "final") == "to validate"
    assert state(run, best, "final") == "finished"
    train_again(run.folder)
    assert state(run, best, "final") == "to validate"
    words = command(run, Setting(best, "Dataset005_Toy", tmp_path, tmp_path, "cpu"), "to continue")
    assert " ".join(words) == ("nnUNetv2_train Dataset005_Toy 2d 0 -tr T -p nnUNetPlans -device cpu --c --val_best")
    two = command(run, Setting(final, "5", tmp_path, tmp_path, "cuda", num_gpus=2), "to validate")
    assert two[-3:] == ["-num_gpus", "2", "--val"]


def test_a_study_written_with_the_command_lines_changes_reads_as_the_same_study(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump({**STUDY, "repeats": 3}))
    study = read(path, dataset="7", folds=[2, 4])
    again = tmp_path / "again.yaml"
    again.write_text(as_yaml(study))
    assert read(again) == study
