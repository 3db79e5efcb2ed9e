"""Five folds of two trainers, and what nnU-Net's commands and nnunet-prosma compare make of them."""

import csv
import json
import zipfile

import pytest
from nnunetv2.evaluation.evaluate_predictions import load_summary_json
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from workspace import Workspace

pytestmark = pytest.mark.slow
TRAINERS = ("nnUNetTrainerShort", "nnUNetTrainerProSMAShort")


def prediction(workspace, trainer, out, *arguments):
    images = workspace.raw / "Dataset009_Toy" / "imagesTs"
    named = ("-d", 9, "-c", "3d_fullres", "-tr", trainer, "-device", "cpu", "-npp", 0, "-nps", 0)
    out.mkdir()
    return ("nnUNetv2_predict", *named, "-i", images, "-o", out, *arguments)


def segmentations(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.nii.gz")}


def test_every_fold_is_validated_on_its_own_cases(five_folds):
    for trainer in TRAINERS:
        folds = [five_folds.fold(trainer, fold=fold) / "validation" for fold in range(5)]
        assert sorted(path.stem for fold in folds for path in fold.glob("*.npz")) == [f"case_{i:03}" for i in range(10)]


def test_the_best_configuration_is_found_over_both_trainers_and_their_ensemble(five_folds):
    found = ("-c", "3d_fullres", "-tr", *TRAINERS, "-np", 1)
    five_folds.run_all(("nnUNetv2_find_best_configuration", 9, *found))
    information = json.loads((five_folds.results / "Dataset009_Toy" / "inference_information.json").read_text())
    assert {information["considered_models"][i]["trainer"] for i in range(2)} == set(TRAINERS)
    assert len(information["all_results"]) == 3


def test_predictions_of_both_trainers_are_ensembled(five_folds):
    outs = [five_folds.path / f"predicted_{trainer}" for trainer in TRAINERS]
    five_folds.run_all(
        *(
            prediction(five_folds, trainer, out, "--save_probabilities", "-f", 0, 1)
            for trainer, out in zip(TRAINERS, outs, strict=True)
        ),
        ("nnUNetv2_ensemble", "-i", *outs, "-o", five_folds.path / "ensembled", "-np", 1),
    )
    assert [len(segmentations(folder)) for folder in (*outs, five_folds.path / "ensembled")] == [2, 2, 2]


def test_a_model_exported_to_a_zip_predicts_the_same_elsewhere(five_folds, tmp_path):
    trainer = "nnUNetTrainerProSMAShort"
    five_folds.run(*prediction(five_folds, trainer, tmp_path / "here", "--disable_tta"))
    archive = tmp_path / "model.zip"
    five_folds.run("nnUNetv2_export_model_to_zip", "-d", 9, "-c", "3d_fullres", "-tr", trainer, "-o", archive)
    assert not [name for name in zipfile.ZipFile(archive).namelist() if name.endswith(".py")]

    elsewhere = Workspace(tmp_path / "elsewhere")
    elsewhere.run("nnUNetv2_install_pretrained_model_from_zip", archive)
    (elsewhere.raw / "Dataset009_Toy").symlink_to(five_folds.raw / "Dataset009_Toy")
    elsewhere.run(*prediction(elsewhere, trainer, tmp_path / "there", "--disable_tta"))
    assert segmentations(tmp_path / "there") == segmentations(tmp_path / "here") != {}


@pytest.fixture(scope="module")
def report(five_folds):
    five_folds.run(
        "nnunet-prosma", "compare", 9, "3d_fullres", *TRAINERS, "-o", five_folds.path / "report", status=None
    )
    assert (five_folds.path / "report" / "summary.json").is_file()  # with a conclusion or, after so few epochs, without
    return five_folds.path / "report"


def test_dice_and_iou_of_every_case_are_nnunets_own(five_folds, report):
    lines = list(csv.DictReader((report / "cases.csv").read_text().splitlines()))
    assert len(lines) == 10 * 2 * 2
    values = {(line["run"], line["case"], line["label"]): line for line in lines}
    for trainer in TRAINERS:
        for summary in five_folds.results.glob(f"*/{trainer}__*/fold_*/validation/summary.json"):
            for case in load_summary_json(str(summary))["metric_per_case"]:
                name = case["prediction_file"].split("/")[-1].removesuffix(".nii.gz")
                for key, label in ((1, "ball"), (2, "core")):
                    line = values[trainer, name, label]
                    assert line["dice"] in ("", repr(case["metrics"][key]["Dice"]))
                    assert line["iou"] in ("", repr(case["metrics"][key]["IoU"]))


def test_the_report_of_the_comparison_is_whole(report):
    found = json.loads((report / "summary.json").read_text())
    assert found["folds"] == ["0", "1", "2", "3", "4"]
    assert found["cases"] == 10
    assert [f for f in found["findings"] if f["error"]] == []
    assert {r["metric"] for r in found["statistics"]} == {"dice", "iou", "nsd", "hd95", "volume"}
    assert list(found["verdicts"]) == [TRAINERS[1]]
    page = (report / "report.html").read_text()
    assert "data:image/png;base64," in page  # the pictures of regressions and gains
    assert "was not found" not in page
    assert (report / "report.md").is_file()


def test_the_gated_network_costs_parameters(report):
    vanilla, gated = json.loads((report / "summary.json").read_text())["cost"]
    assert 0 < vanilla["parameters"] < gated["parameters"] < 2 * vanilla["parameters"]
    assert vanilla["seconds_per_epoch"] > 0
    assert vanilla["epochs"] >= 1


def test_the_splits_tell_when_a_fold_was_not_trained(five_folds):
    plans = five_folds.results / "Dataset009_Toy"
    hidden = [folder / "fold_4" for folder in plans.glob("*__3d_fullres")]
    for folder in hidden:
        folder.rename(folder.with_name("hidden"))
    try:
        named = ("compare", 9, "3d_fullres", *TRAINERS, "-o", five_folds.path / "four")
        assert "lacks fold 4" in five_folds.run("nnunet-prosma", *named, status=2)
        assert "are too few for an interval" in five_folds.run("nnunet-prosma", *named, "-f", 0, 1, 2, 3, status=1)
    finally:
        for folder in hidden:
            folder.with_name("hidden").rename(folder)


def test_parameters_are_those_that_pytorch_counts(five_folds, report):
    plans = PlansManager(str(next(five_folds.results.glob(f"*/{TRAINERS[0]}__*")) / "plans.json"))
    configuration = plans.get_configuration("3d_fullres")
    network = get_network_from_plans(
        configuration.network_arch_class_name,
        configuration.network_arch_init_kwargs,
        configuration.network_arch_init_kwargs_req_import,
        1,
        3,
        deep_supervision=True,
    )
    counted = sum(parameter.numel() for parameter in network.parameters())
    assert json.loads((report / "summary.json").read_text())["cost"][0]["parameters"] == counted
