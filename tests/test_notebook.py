"""The notebook, which runs the demo: the only test that trains the whole demo."""

import json
from pathlib import Path

import nbformat
import numpy as np
import pytest
import SimpleITK
from nbclient import NotebookClient

from nnunet_prosma.command import main

NOTEBOOK = Path(__file__).parent.parent / "docs" / "demo.ipynb"
NNUNET_FOLDERS = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of jupyter's own
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_notebook_runs_the_demo_which_shows_both_without_touching_the_users_folders(tmp_path, monkeypatch, capsys):
    """From top to bottom, with a tiny demo."""
    users = tmp_path / "users"
    users.mkdir()
    for name in NNUNET_FOLDERS:
        monkeypatch.setenv(name, str(users))
    monkeypatch.setenv("DEMO_EPOCHS", "1")
    monkeypatch.setenv("DEMO_SIZE", "16")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (demo,) = (cell for cell in notebook.cells if cell.cell_type == "code" and '"demo"' in cell.source)
    demo.source = f"before = dict(os.environ)\n{demo.source}\nassert dict(os.environ) == before"
    place = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=1800, kernel_name="python3", resources=place).execute()
    folder = tmp_path / "nnunet_prosma_demo"
    assert not list(users.iterdir())

    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    shown = "".join(output.get("text", "") for output in outputs if output.get("name") == "stdout")
    assert "decoder.gates.0: psi 0." in shown
    assert "no conclusion" in shown.lower()
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
    assert (folder / "report" / "report.html").is_file()
    for step in range(1, 7):
        assert f"[{step}/6 " in shown
    assert "no evidence for or against" in shown
    assert "nnUNetv2_train 9 3d_fullres 0 -tr nnUNetTrainerProSMA\n" in shown

    numbers = json.loads((folder / "demo.json").read_text())
    vanilla, gated = (numbers[name] for name in ("nnUNetTrainerDemo", "nnUNetTrainerProSMADemo"))
    assert gated["parameters"] > vanilla["parameters"] > 1e6
    for trainer, values in numbers.items():
        for label, name in ((1, "organ"), (2, "lesion")):
            dice = [brute_force_dice(folder, trainer, seed, label) for seed in range(100, 104)]
            assert values["mean_dice"][name] == pytest.approx(np.mean(dice))
    assert (folder / "demo.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "inspect" / "index.html").is_file()

    assert main(["demo", "-o", str(folder), "-device", "cpu"]) == 2
    assert "holds a demo already; --overwrite replaces it" in capsys.readouterr().err


def test_the_notebook_is_kept_without_outputs():
    assert [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.get("outputs")] == []


def brute_force_dice(folder, trainer, seed, label):
    name = f"phantom_{seed}.nii.gz"
    paths = (folder / "predictions" / trainer / name, folder / "raw" / "Dataset901_Phantom" / "labelsTs" / name)
    mine, truth = (SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(p))) == label for p in paths)
    return 2 * np.sum(mine & truth) / (np.sum(mine) + np.sum(truth))
