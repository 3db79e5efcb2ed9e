import json
import shlex
import subprocess
import sys
from importlib import import_module, metadata
from pathlib import Path

import pytest
from workspace import run_as_newcomer

from nnunet_prosma import command, doctor, progress
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


def test_help_of_a_command_is_its_own_help(capsys):
    texts = []
    for words in (["help", "plan"], ["plan", "-h"]):
        with pytest.raises(SystemExit, match="0"):
            command.main(words)
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1] != ""
    assert command.main(["help"]) == command.main(["help", "help"]) == 0
    assert capsys.readouterr().out.startswith("usage: nnunet-prosma COMMAND")


def test_an_unknown_command_is_one_sentence_and_status_2():
    assert run("docter") == (2, "", "nnunet-prosma: no command 'docter'; did you mean doctor?\n")
    assert run("hlp") == (2, "", "nnunet-prosma: no command 'hlp'; did you mean help?\n")
    status, out, error = run("xyz")
    assert (status, out) == (2, "")
    assert error == "nnunet-prosma: no command 'xyz'; there are " + ", ".join(command.SUBCOMMANDS) + "\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["demo", "--epoch-s", "3"], "unrecognized arguments: --epoch-s 3; did you mean --epochs?"),
        (["demo", "-device", "cdua"], "); did you mean cuda?"),
        (["convert", "kvasr", "x", "1"], "); did you mean kvasir?"),
        (["plan", "-d"], "argument -d: expected at least one argument"),
    ],
)
def test_a_wrong_option_is_one_line_with_what_may_be_meant(words, said, capsys):
    with pytest.raises(SystemExit, match="2"):
        command.main(words)
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith(f"nnunet-prosma {words[0]}: ")
    assert first.replace("'", "").endswith(said)
    assert second == f"nnunet-prosma {words[0]} --help tells its options"


@pytest.mark.parametrize("name", command.SUBCOMMANDS)
def test_every_option_is_explained_and_every_example_is_shown_and_parses(name, capsys):
    parser = import_module(command.SUBCOMMANDS[name].module).parser()
    unexplained = [a.option_strings or a.dest for a in parser._actions if not a.help]
    assert unexplained == []
    shown = parser.format_help()
    for example in command.SUBCOMMANDS[name].examples:
        assert f"  nnunet-prosma {name} {example}".rstrip() + "\n" in shown
        parser.parse_args(shlex.split(example.partition(">")[0]))


def test_flags_that_several_commands_have_mean_the_same_everywhere():
    """As nnU-Net spells them. -device is chosen alike, but container measures for a platform with a GPU."""
    metavars, devices = {}, {}
    for command_ in command.SUBCOMMANDS.values():
        for action in import_module(command_.module).parser()._actions:
            if "-device" in action.option_strings:
                devices.setdefault(action.default, set()).add(command_.module.split(".")[1])
            for flag in {"-d", "-c", "-tr", "-p", "-f"} & {*action.option_strings}:
                metavars.setdefault(flag, set()).add(action.metavar)
    assert metavars == {
        "-d": {"DATASET"},
        "-c": {"CONFIGURATION"},
        "-tr": {"TRAINER"},
        "-p": {"PLANS"},
        "-f": {"FOLD"},
    }
    assert devices == {None: {"demo", "study", "inspect", "benchmark", "bundle"}, "cuda": {"container"}}


def test_json_alone_prints_in_every_command_that_has_it():
    have = {}
    for name, command_ in command.SUBCOMMANDS.items():
        parser = import_module(command_.module).parser()
        if any("--json" in action.option_strings for action in parser._actions):
            have[name] = parser.parse_known_args([*shlex.split(command_.examples[-1]), "--json"])[0].json
    assert {name: str(value) for name, value in have.items()} == {
        **{"doctor": "True", "study": "True"},
        **{"benchmark": "-", "compare": "-", "metrics": "-"},
    }


def test_a_progress_bar_is_silent_when_asked_and_in_a_file(capsys, monkeypatch):
    def drawn():
        list(progress.progress_bar(range(3), desc="cases"))
        return capsys.readouterr().err

    assert drawn() == ""  # standard error is captured here: no terminal
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert "cases: 100%" in drawn()
    monkeypatch.setattr(progress, "quiet", True)
    assert drawn() == ""


def test_what_is_quoted_of_a_file_is_shortened_and_paths_are_not():
    path = "/home/" + "n" * 900
    assert (
        command.shortened(f"{path} must be short, got {'x' * 5000!r}") == f"{path} must be short, got '{'x' * 199}..."
    )


def test_a_shell_completes_commands_and_options(tmp_path, capsys):
    assert command.main(["completion", "bash"]) == 0
    (tmp_path / "completion").write_text(capsys.readouterr().out)
    asked = """source completion
        COMP_WORDS=(nnunet-prosma com); COMP_CWORD=1; _shtab_nnunet_prosma; echo "${COMPREPLY[@]}"
        COMP_WORDS=(nnunet-prosma compare --prim); COMP_CWORD=2; _shtab_nnunet_prosma; echo "${COMPREPLY[@]}"
        COMP_WORDS=(nnunet-prosma inspect -device c); COMP_CWORD=3; _shtab_nnunet_prosma; echo "${COMPREPLY[@]}" """
    done = subprocess.run(["bash", "-c", asked], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert [set(line.split()) for line in done.stdout.splitlines()] == [
        {"compare", "completion"},
        {"--primary"},
        {"cuda", "cpu"},
    ]


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
    assert report["gate path"] == ("fused" if report["device"].startswith("cpu: ") else report["gate path"])
    assert set(report["folders"]) == {"nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"}


def test_doctor_tells_when_the_registration_is_switched_off():
    status, out, _ = run("doctor", NNUNET_PROSMA_REGISTER="0")
    assert status == 1
    assert "trainer nnUNetTrainerProSMA: NOT FOUND" in out
    assert out.splitlines()[-1] == "The registration is switched off: unset NNUNET_PROSMA_REGISTER"


def test_doctor_tells_how_to_mend_a_torchvision_of_another_build_than_torch(tmp_path):
    (tmp_path / "timm.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')\n")
    status, out, _ = run("doctor", PYTHONPATH=str(tmp_path))  # nnU-Net's networks import timm, which imports it
    assert status == 1
    assert "RuntimeError: operator torchvision::nms does not exist" in out
    assert "pip install --force-reinstall torch torchvision --index-url" in out.splitlines()[-1]


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
