"""The script of `make gpu-test`, on a CPU: it must not fail on its first line on the first GPU that anyone has."""

import importlib.util
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "gpu_test.py"


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("gpu_test", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_without_a_gpu_it_is_skipped_in_a_sentence(script, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert script.main(["-o", str(tmp_path / "gpu.md")]) == 0
    assert capsys.readouterr().out == "make gpu-test is skipped: torch finds no GPU here.\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_each_part_runs_on_a_cpu_in_small_and_the_file_has_them_all(script, tmp_path):
    file = tmp_path / "gpu.md"
    assert script.main(["--device", "cpu", "-o", str(file)]) == 0, file.read_text()
    text = file.read_text()
    assert text.count("\n### ") == 6
    assert "FAILED" not in text
    assert text.count("right: ") == 4 * 2 * 2 + 2 + 2
    assert "skipped: there are no two GPUs" in text


def test_a_part_that_fails_is_in_the_file_and_the_others_go_on(script, tmp_path, monkeypatch):
    def broken(device):
        yield "right: something"
        raise RuntimeError("no such register")

    def wrong(device):
        yield "FAILED the fused path is wrong"

    def fine(device):
        yield "right"

    monkeypatch.setattr(script, "correctness", wrong)
    monkeypatch.setattr(script, "choices", broken)
    for part in ("training", "several", "prediction", "cost"):
        monkeypatch.setattr(script, part, fine)
    file = tmp_path / "gpu.md"
    assert script.main(["--device", "cpu", "-o", str(file)]) == 1
    text = file.read_text()
    assert text.count("s, FAILED)") == 2
    assert "no such register" in text
    assert text.count("\nright\n") == 4
