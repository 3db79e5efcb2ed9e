"""The names that nnunet_prosma offers to Python, and the page that shows them."""

import copy
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from compare_workspace import random_run
from hand_built import half_bright, plans, write_model

import nnunet_prosma
from nnunet_prosma import command
from nnunet_prosma.errors import InputError
from nnunet_prosma.host.trainers import find_trainer

ROOT = Path(__file__).parent.parent
DATASET = {"channel_names": {"0": "MR"}, "labels": {"background": 0, "a": 1, "b": 2}, "file_ending": ".nii.gz"}
DATASET["numTraining"] = 1


def test_importing_the_package_imports_nothing_but_itself():
    """Under 50 ms is what it is for; what takes time is another package, so none may be there."""
    code = "import sys; before = {*sys.modules}; import nnunet_prosma; print(*sorted({*sys.modules} - before))"
    out = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True, env={
        "PYTHONPATH": str(Path(nnunet_prosma.__file__).parent.parent)}).stdout  # fmt: skip
    assert out.split() == ["nnunet_prosma"]


def test_every_name_that_is_offered_is_there_and_another_is_an_error():
    assert {*nnunet_prosma.__all__} <= {*dir(nnunet_prosma)}
    for name in nnunet_prosma.__all__:
        assert getattr(nnunet_prosma, name).__name__ == name
    with pytest.raises(AttributeError, match=r"no attribute 'gated_netwrok'; it has .*gated_network"):
        _ = nnunet_prosma.gated_netwrok


def test_the_network_is_what_nnunet_would_train_and_the_plans_stay_as_they_are():
    planned = plans(3, [16, 16, 16])
    before = copy.deepcopy(planned)
    network = nnunet_prosma.gated_network(planned, DATASET, "3d_fullres", gate={"lam": 0.3, "dilations": [1, 2]})
    assert planned == before
    assert network(torch.zeros(1, 1, 16, 16, 16)).shape == (1, 3, 16, 16, 16)
    torch.testing.assert_close(network.decoder.gates[0].lam, torch.full((8,), 0.3))
    assert len(network.decoder.gates[0].branches) == 2
    hard = nnunet_prosma.gated_network(planned, DATASET, "3d_fullres", trainer="nnUNetTrainerProSMA_hardRemoval")
    assert hard.decoder.gates[0].config.removal == "hard"


def test_a_configuration_that_inherits_its_network_gets_the_settings_too():
    planned = plans(3, [16, 16, 16])
    planned["configurations"]["mine"] = {"inherits_from": "3d_fullres", "batch_size": 1}
    network = nnunet_prosma.gated_network(planned, DATASET, "mine", gate={"spatial": False})
    assert network.decoder.gates[0].config.spatial is False


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"trainer": "nnUNetTrainer"}, "the trainer nnUNetTrainer builds a PlainConvUNet, which has no gates"),
        ({"trainer": "nnUNetTrainerProSMAA"}, "nnU-Net finds no trainer 'nnUNetTrainerProSMAA'"),
        ({"configuration": "3d_low", "gate": {}}, "has no configuration '3d_low'; it has 3d_fullres"),
        ({"gate": {"kind": "attention"}}, "gate asks for the kind attention, and nnUNetTrainerProSMA sets prosma"),
        ({"plans": "nowhere.json"}, "nowhere.json cannot be read as JSON"),
    ],
)
def test_what_cannot_be_built_is_one_sentence(arguments, problem):
    given = {"plans": plans(3, [16, 16, 16]), "dataset_json": DATASET, "configuration": "3d_fullres"} | arguments
    with pytest.raises(InputError, match=problem):
        nnunet_prosma.gated_network(**given)


def test_an_opened_network_answers_as_nnunets_own_and_its_gates_are_open_where_it_was_built_so(tmp_path):
    folder = write_model(tmp_path, plans(3, [16, 16, 16]))
    network = nnunet_prosma.open_trained(folder)
    image = torch.from_numpy(half_bright((16, 16, 16)))[None, None]
    stock = find_trainer("nnUNetTrainerProSMA")
    assert type(network).__name__ == "ProSMAUNet"
    assert not network.training
    ((name, fields),) = nnunet_prosma.look(network, image).items()
    assert name == "decoder.gates.0"
    assert name + ".theta" in network.state_dict()
    assert (fields.psi[..., 8:] > 0.99).all()
    assert (fields.psi[..., :8] < 0.01).all()
    assert (fields.z[..., :8] == 0).all()
    assert (network(image).argmax(1)[0] == (image[0, 0] > 0)).all()
    assert stock.__name__ == "nnUNetTrainerProSMA"
    with pytest.raises(InputError, match=r"no checkpoint_final.pth of fold 3; there is one of fold 0"):
        nnunet_prosma.open_trained(folder, fold=3)


def test_a_comparison_is_read_as_it_was_written(tmp_path):
    runs = [random_run(tmp_path, trainer, cases=12, labels=2, seed=i) for i, trainer in enumerate("AB")]
    words = ["--folders", *map(str, runs), "-o", str(tmp_path / "report"), "--tables-only"]
    assert command.main(["compare", *words]) == 0
    comparison = nnunet_prosma.read_comparison(tmp_path / "report")
    assert len(comparison.cases) == 12 * 2 * 2
    truth = json.loads((runs[1] / "fold_0" / "validation" / "summary.json").read_text())["metric_per_case"][0]
    case = Path(truth["prediction_file"]).name.partition(".")[0]
    (row,) = [r for r in comparison.cases if (r["case"], r["run"], r["label"]) == (case, "B", "structure 1")]
    assert row["dice"] == pytest.approx(truth["metrics"]["1"]["Dice"])
    assert comparison.to_pandas().shape[0] == 48
    assert list(comparison.summary["verdicts"]) == ["B"]
    with pytest.raises(InputError, match=r"must be what nnunet-prosma compare -o wrote"):
        nnunet_prosma.read_comparison(tmp_path)
    cases = tmp_path / "report" / "cases.csv"
    cases.write_text(cases.read_text() + 20 * "x,")
    with pytest.raises(InputError, match=r"cases.csv is cut off or damaged"):
        nnunet_prosma.read_comparison(tmp_path / "report")
    (tmp_path / "report" / "summary.json").write_text("{")
    with pytest.raises(InputError, match=r"summary.json or cases.csv beside it is cut off or damaged"):
        nnunet_prosma.read_comparison(tmp_path / "report")


def test_the_examples_of_the_page_run(tmp_path, monkeypatch, capsys):
    planned = plans(3, [32, 32, 32])
    model = write_model(tmp_path / "results", planned)
    model.rename(tmp_path / model.name)
    (tmp_path / "nnUNetPlans.json").write_text(json.dumps(planned))
    (tmp_path / "dataset.json").write_text(json.dumps(DATASET))
    runs = [random_run(tmp_path, trainer, cases=12, labels=1, seed=i) for i, trainer in enumerate("AB")]
    assert command.main(["compare", "--folders", *map(str, runs), "-o", str(tmp_path / "report"), "--tables-only"]) == 0
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(), re.DOTALL)
    assert len(examples) == 4
    for example in examples:
        exec(compile(example, "docs/python.md", "exec"), {})
    assert "decoder.gates.0 (1, 1, 32, 32, 32)" in capsys.readouterr().out
