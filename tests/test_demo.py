import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nnunet_prosma.command import main
from nnunet_prosma.demo.environment import EXTENSION, environment
from nnunet_prosma.demo.folder import MARKER, claim
from nnunet_prosma.demo.phantom import write_dataset
from nnunet_prosma.demo.report import Outcome, draw, table
from nnunet_prosma.demo.training import Training, train
from nnunet_prosma.errors import InputError
from nnunet_prosma.host.processes import run

NNUNET_FOLDERS = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")


@pytest.fixture
def python_as_command(monkeypatch):
    """run() looks commands up by name; here it finds this Python."""
    monkeypatch.setattr("nnunet_prosma.host.processes.find", lambda name: sys.executable)


def test_a_folder_with_anything_elses_files_is_refused_and_left_alone_even_with_overwrite(tmp_path, capsys):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "thesis.txt").write_text("mine")
    assert main(["demo", "-o", str(tmp_path), "-device", "cpu", "--overwrite"]) == 2
    problem = capsys.readouterr().err
    assert "holds files that are not the demo's" in problem
    assert problem.count("\n") == 1
    assert (tmp_path / "raw" / "thesis.txt").read_text() == "mine"


def test_overwrite_removes_what_the_demo_made_and_nothing_else(tmp_path):
    folder = tmp_path / "demo"
    claim(folder, overwrite=False)
    (folder / "results").mkdir()
    (folder / "notes.txt").write_text("mine")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (folder / "raw").symlink_to(elsewhere)
    with pytest.raises(InputError, match="--overwrite replaces it"):
        claim(folder, overwrite=False)
    assert (folder / "results").exists()
    claim(folder, overwrite=True)
    assert sorted(p.name for p in folder.iterdir()) == ["logs", MARKER, "notes.txt"]
    assert elsewhere.is_dir()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--epochs", "0"], "--epochs must be at least 1, got 0"),
        (["--size", "15"], "--size must be at least 16, got 15"),
    ],
)
def test_a_setting_out_of_range_is_refused_in_one_sentence(arguments, problem, tmp_path, capsys):
    assert main(["demo", "-o", str(tmp_path / "demo"), *arguments]) == 2
    assert capsys.readouterr().err == f"nnunet-prosma demo: {problem}\n"
    assert not (tmp_path / "demo").exists()


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["demo", "-o", str(tmp_path / "file" / "demo"), "-device", "cpu"]) == 2
    problem = capsys.readouterr().err
    assert problem.startswith("nnunet-prosma demo: cannot write the demo into ")
    assert problem.count("\n") == 1


def test_the_subprocesses_see_the_demos_folders_and_trainers_and_the_users_trainers_still(tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_extTrainer", os.pathsep.join(["/users/own", "/plugins/own"]))
    env = environment(tmp_path, epochs=1, iterations=1, augmenters=1)
    assert env["nnUNet_extTrainer"].split(os.pathsep) == [EXTENSION, "/users/own", "/plugins/own"]
    assert all(Path(env[name]).parent == tmp_path for name in NNUNET_FOLDERS)


def test_nnunet_which_imports_all_it_finds_there_finds_one_module():
    assert [p.name for p in Path(EXTENSION).glob("*.py")] == ["nnunet_prosma_demo_extension.py"]


def test_a_command_that_fails_is_named_with_its_last_words_and_its_log(tmp_path, python_as_command):
    code = "import sys; print('so far so good'); sys.exit('out of patience')"
    with pytest.raises(InputError, match=r"some_command ended with status 1 \(out of patience\).*log\.txt"):
        run(["some_command", "-c", code], tmp_path / "log.txt", os.environ)
    assert (tmp_path / "log.txt").read_text() == "so far so good\nout of patience\n"


def test_a_command_that_is_not_installed_is_named(tmp_path):
    with pytest.raises(InputError, match=r"there is no nnUNetv2_absent in .*pip install"):
        run(["nnUNetv2_absent"], tmp_path / "log.txt", os.environ)


def test_a_training_is_followed_through_what_nnunet_prints(tmp_path, python_as_command):
    epoch = (
        "2026-01-01 00:00:00.1: Epoch {0}\n2026-01-01 00:00:00.1: Pseudo dice [np.float32(0.5), np.float32(nan)]\n"
        "2026-01-01 00:00:00.1: Epoch time: {1} s\n"
    )
    printed = "2026-01-01 00:00:00.1: Parameters: 1234\n" + epoch.format(0, 9.0) + epoch.format(1, 2.5)
    printed += epoch.format(2, 2.0)
    training = train(["train", "-c", f"print({printed!r})"], 3, tmp_path / "log.txt", os.environ)
    assert (training.parameters, training.epoch_s) == (1234, 2.5)


def test_a_training_that_tells_nothing_is_an_error(tmp_path, python_as_command):
    with pytest.raises(InputError, match="ended without telling its epochs"):
        train(["train", "-c", "pass"], 1, tmp_path / "log.txt", os.environ)


@pytest.mark.skipif(sys.platform == "win32", reason="process groups")
def test_ctrl_c_stops_the_command_and_all_its_children(tmp_path):
    pid = tmp_path / "pid"
    child = f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    demo = (
        "import os, pathlib, sys\n"
        "from nnunet_prosma import command, demo\n"
        "from nnunet_prosma.host import processes\n"
        "processes.find = lambda name: sys.executable\n"
        f"demo.main = lambda arguments: processes.run(['train', '-c', {parent!r}], "
        f"pathlib.Path({str(tmp_path / 'log.txt')!r}), os.environ)\n"
        "sys.exit(command.main(['demo']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", demo],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )
    while not (pid.exists() and pid.read_text()):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=1800)[1] == "nnunet-prosma demo: stopped\n"
    assert process.returncode == 130
    time.sleep(0.2)
    stat = Path(f"/proc/{pid.read_text()}/stat")
    assert not stat.exists() or stat.read_text().split()[2] == "Z"


def test_the_table_and_the_picture_show_what_nnunet_measured(tmp_path):
    dataset = write_dataset(tmp_path, train=[], test=[100], size=16)
    outcomes = []
    for title, dice in (("vanilla", 0.25), ("gated", 0.75)):
        folder = tmp_path / title
        folder.mkdir()
        (folder / "phantom_100.nii.gz").write_bytes((dataset / "labelsTs" / "phantom_100.nii.gz").read_bytes())
        rest = {"IoU": dice, "n_ref": 1, "n_pred": 1}
        metrics = {"1": {"Dice": dice, **rest}, "2": {"Dice": float("nan"), **rest}}
        named = {"prediction_file": str(folder / "phantom_100.nii.gz"), "reference_file": "phantom_100.nii.gz"}
        (folder / "summary.json").write_text(json.dumps({"metric_per_case": [{**named, "metrics": metrics}]}))
        outcomes.append(Outcome(title, title, Training(125.4, 6.25, 5603177), folder))
    head, vanilla, gated = table(outcomes).splitlines()
    assert head.split() == ["trainer", "Dice", "organ", "Dice", "lesion", "training", "per", "epoch", "parameters"]
    assert vanilla.split() == ["vanilla", "0.250", "nan", "2:05", "6.2", "s", "5,603,177"]
    assert gated.split()[:2] == ["gated", "0.750"]
    for gate in range(2):  # the finest is the last
        (tmp_path / "maps").mkdir(exist_ok=True)
        image = (dataset / "imagesTs" / "phantom_100_0000.nii.gz").read_bytes()
        (tmp_path / "maps" / f"phantom_100_psi_gate{gate}.nii.gz").write_bytes(image)
    draw(tmp_path / "demo.png", dataset, [100], outcomes, tmp_path / "maps")
    assert (tmp_path / "demo.png").read_bytes().startswith(b"\x89PNG")
    assert not list(tmp_path.glob(".*"))
