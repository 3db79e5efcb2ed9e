"""A real comparison of two short 5-fold trainings, made and read by the real commands."""

import csv
import json

import pytest
from nnunetv2.evaluation.evaluate_predictions import load_summary_json
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("five_folds")]
TRAINERS = ("nnUNetTrainerShort", "nnUNetTrainerProSMAShort")


@pytest.fixture(scope="session")
def report(five_folds):
    five_folds.run("nnunet-prosma", "compare", 9, "3d_fullres", *TRAINERS, "-o", five_folds.path / "report")
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


def test_the_report_is_whole(report):
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
        five_folds.run("nnunet-prosma", *named, "-f", 0, 1, 2, 3)
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
