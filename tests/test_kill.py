"""kill -9 at the worst moment of a whole command: what was there stands, and the next run succeeds and tidies up.

The command is the real one, in a process of its own that ends itself by SIGKILL in place of a step of its writing.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from compare_workspace import counts, write_run
from hand_built import plans, write_model

KILLED = """
import os, signal, sys
from nnunet_prosma import command, files

step, at = sys.argv[1], int(sys.argv[2])
real, calls = {"rename": os.rename, "replace": os.replace, "exchange": files._exchanged}, 0

def deadly(*paths):
    global calls
    calls += 1
    if calls > at:
        os.kill(os.getpid(), signal.SIGKILL)
    return real[step](*paths)

if step == "exchange":
    files._exchanged = deadly
else:
    setattr(os, step, deadly)
sys.exit(command.main(sys.argv[3:]))
"""


def run(*words, killed_at=None):
    """The status; killed_at: the step and how many of its like go well before it."""
    program = [Path(sys.executable).with_name("nnunet-prosma")]
    if killed_at:
        program = [sys.executable, "-c", KILLED, *killed_at]
    done = subprocess.run(
        [*map(str, program), *map(str, words)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == (-signal.SIGKILL if killed_at else 0), done.stderr[-3000:]


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def leftovers(folder):
    return [name for name in os.listdir(folder) if name.endswith(".part")]


@pytest.fixture
def comparison(tmp_path):
    """The words of compare, of two runs; the output is out/report."""
    for trainer, dice in (("nnUNetTrainer", 0.5), ("nnUNetTrainerProSMA", 0.75)):
        write_run(
            tmp_path / "runs",
            trainer,
            {"0": {f"case{n}": {1: counts(dice + n / 50), 2: counts(0.5)} for n in range(12)}},
        )
    folders = sorted((tmp_path / "runs").glob("nnUNetTrainer*"))
    return ["compare", "--folders", *folders, "-o", tmp_path / "out" / "report", "--tables-only", "--no-images"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "killed_at", [("replace", "2"), ("exchange", "0")], ids=["half made", "about to take its place"]
)
def test_a_killed_compare_leaves_the_earlier_report_and_the_next_one_succeeds(comparison, tmp_path, killed_at):
    report = tmp_path / "out" / "report"
    run(*comparison)
    before = contents(report)
    assert {"report.html", "summary.json", "cases.csv"} <= before.keys()
    run(*comparison, "--seed", "5", killed_at=killed_at)
    assert contents(report) == before
    (left,) = leftovers(tmp_path / "out")
    assert contents(tmp_path / "out" / left)  # it was killed in the middle, not before
    run(*comparison, "--seed", "5")
    assert os.listdir(tmp_path / "out") == ["report"]
    after = contents(report)
    assert after.keys() == before.keys()
    assert after["summary.json"] != before["summary.json"]


@pytest.mark.slow
def test_a_killed_first_compare_leaves_no_report_and_the_next_one_succeeds(comparison, tmp_path):
    run(*comparison, killed_at=("rename", "0"))
    assert len(leftovers(tmp_path / "out")) == len(os.listdir(tmp_path / "out")) == 1
    run(*comparison)
    assert os.listdir(tmp_path / "out") == ["report"]


@pytest.mark.slow
def test_a_killed_bundle_leaves_no_bundle_and_the_next_one_is_whole(tmp_path):
    model = write_model(tmp_path / "results", plans(3, [8, 8, 16]))
    words = ["bundle", "-m", model, "-f", "0", "-o", tmp_path / "out" / "bundle"]
    run(*words, killed_at=("rename", "0"))
    (left,) = os.listdir(tmp_path / "out")
    assert left.endswith(".part")
    assert any(name.endswith("manifest.json") for name in contents(tmp_path / "out" / left))
    run(*words)
    assert os.listdir(tmp_path / "out") == ["bundle"]
    assert (tmp_path / "out" / "bundle" / "manifest.json").is_file()
