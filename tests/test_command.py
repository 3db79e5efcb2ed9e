import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from workspace import run_as_newcomer

from nnunet_prosma import command, doctor
from nnunet_prosma.errors import InputError
from nnunet_prosma.register import DIRECTORY

COMMAND = Path(sys.executable).with_name("nnunet-prosma")


def run(*arguments, **variables):
    return run_as_newcomer(COMMAND, *arguments, **variables)


def test_help_names_every_command_and_loads_nothing_heavy():
    code = "import sys; from nnunet_prosma.command import main; main(['--help']); "
    code += "print('HEAVY', *{'torch', 'numpy'} & {*sys.modules})"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert all(f"  {name} " in out for name in command.SUBCOMMANDS)
    assert out.splitlines()[-1] == "HEAVY"


@pytest.mark.parametrize("name", command.SUBCOMMANDS)
def test_every_command_has_a_help_of_its_own(name, capsys):
    with pytest.raises(SystemExit, match="0"):
        command.main([name, "--help"])
    assert f"nnunet-prosma {name}" in capsys.readouterr().out


def test_the_version_is_the_packages(capsys):
    assert command.main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"nnunet-prosma {metadata.version('nnunet-prosma')}"


def test_an_unknown_command_is_one_sentence_and_status_2():
    status, out, error = run("docter")
    assert (status, out) == (2, "")
    assert error == "nnunet-prosma: no command 'docter'; there are " + ", ".join(command.SUBCOMMANDS) + "\n"


def test_bad_input_is_one_sentence_and_status_2(monkeypatch, capsys):
    def refuse(_):
        raise InputError("a must hold, b arrived, do c")

    monkeypatch.setattr("nnunet_prosma.doctor.main", refuse)
    assert command.main(["doctor"]) == 2
    assert capsys.readouterr().err == "nnunet-prosma doctor: a must hold, b arrived, do c\n"


def test_doctor_finds_the_trainer_and_says_where():
    status, out, _ = run("doctor", "--json")
    report = json.loads(out)
    assert status == 0
    assert report["trainer"]["class"] == "nnunet_prosma.trainers.gated.nnUNetTrainerProSMA"
    assert report["trainer"]["through"] == DIRECTORY
    assert report["trainer"]["same class twice"] is True
    assert report["versions"]["nnunetv2"] == metadata.version("nnunetv2")
    assert set(report["folders"]) == {"nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"}


def test_doctor_tells_when_the_registration_is_switched_off():
    status, out, _ = run("doctor", NNUNET_PROSMA_REGISTER="0")
    assert status == 1
    assert "trainer nnUNetTrainerProSMA: NOT FOUND" in out
    assert out.splitlines()[-1] == "The registration is switched off: unset NNUNET_PROSMA_REGISTER"


def test_doctor_tells_when_another_trainer_directory_breaks_the_search(tmp_path):
    (tmp_path / "broken.py").write_text("import no_such_module\n")
    status, out, _ = run("doctor", nnUNet_extTrainer=str(tmp_path))
    assert status == 1
    assert "ModuleNotFoundError: No module named 'no_such_module'" in out
    assert "often another module in a directory of the list" in out.splitlines()[-1]


def test_doctor_tells_the_state_of_each_folder(tmp_path, monkeypatch):
    assert doctor.folder_state(None) == {"path": None, "state": "not set"}
    assert doctor.folder_state(str(tmp_path))["state"] == "ok"
    assert doctor.folder_state(str(tmp_path / "no"))["state"] == "does not exist"
    monkeypatch.setattr("os.access", lambda *_: False)
    assert doctor.folder_state(str(tmp_path))["state"] == "not writable"


def test_trainer_path_is_the_directory_alone():
    assert run("trainer-path") == (0, DIRECTORY + "\n", "")
