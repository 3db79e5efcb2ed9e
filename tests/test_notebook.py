"""The notebook of the demo runs from top to bottom, with a tiny demo."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parent.parent / "docs" / "demo.ipynb"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of jupyter's own
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_notebook_runs_and_shows_what_it_says(tmp_path, monkeypatch):
    monkeypatch.setenv("DEMO_EPOCHS", "1")
    monkeypatch.setenv("DEMO_SIZE", "16")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(
        notebook, timeout=1800, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    printed = "".join(output.get("text", "") for output in outputs if output.get("name") == "stdout")
    assert "decoder.gates.0: psi 0." in printed
    assert "no conclusion" in printed.lower()
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
    assert (tmp_path / "nnunet_prosma_demo" / "report" / "report.html").is_file()


def test_the_notebook_is_kept_without_outputs():
    assert [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.get("outputs")] == []
