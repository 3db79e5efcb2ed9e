"""Each wrong input is one sentence that names the file and the field, status 2, and nothing is written."""

import errno
import os
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
import torch
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
from workspace import run_as_newcomer
from wrong_files import wrong_files
from wrong_home import make_home, snapshot
from wrong_options import wrong_options
from wrong_uses import USES

from nnunet_prosma import command
from nnunet_prosma.errors import of_system
from nnunet_prosma.files.leftovers import taken
from nnunet_prosma.host.checkpoints import write_checkpoint

COMMAND = Path(sys.executable).with_name("nnunet-prosma")
NO_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="here is a GPU")
WRONG = wrong_files() | wrong_options()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    make_home(home)
    return home


@pytest.fixture
def home(whole, tmp_path, monkeypatch):
    folder = tmp_path / "home"
    shutil.copytree(whole, folder)
    for name in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{name}", str(folder / name))
    monkeypatch.chdir(tmp_path)
    return folder


def call(words: str, home: Path) -> int:
    """argparse ends by SystemExit, which is the command's status all the same."""
    try:
        return command.main([word.replace("{home}", str(home)) for word in shlex.split(words)])
    except SystemExit as end:
        return int(end.code or 0)


def assert_one_sentence(status: int, error: str, says: str) -> None:
    assert status == 2, error[-2000:]
    assert "Traceback" not in error, error[-2000:]
    said = [line for line in error.splitlines() if line.startswith("nnunet-prosma")]
    assert said, error[-2000:]
    assert re.search(says, "\n".join(said)), said


def test_there_are_at_least_150_wrong_inputs_over_all_commands_that_read_or_write():
    assert len(WRONG) >= 150
    reading = set(command.SUBCOMMANDS) - {"doctor", "trainer-path", "completion"}
    assert reading <= {wrong.words.split()[0] for wrong in WRONG.values()}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_input_is_one_sentence_status_2_and_nothing_is_written(home, capsys, name):
    wrong = WRONG[name]
    if wrong.damage:
        wrong.damage(home)
    before = snapshot(home)
    status = call(wrong.words, home)
    assert_one_sentence(status, capsys.readouterr().err, wrong.says)
    assert snapshot(home) == before


@NO_GPU
@pytest.mark.parametrize("use", ["inspect", "benchmark", "demo", "predict"])
def test_a_gpu_that_is_not_there_is_one_sentence(home, capsys, use):
    before = snapshot(home)
    status = call(USES[use].replace("-device cpu", "-device cuda"), home)
    assert_one_sentence(status, capsys.readouterr().err, "cuda")
    assert snapshot(home) == before


@pytest.mark.parametrize("use", ["inspect", "benchmark", "predict", "warm-start", "study", "demo"])
def test_a_path_that_does_not_exist_is_one_sentence_in_every_command_that_computes_gates(
    home, capsys, monkeypatch, use
):
    monkeypatch.setenv("NNUNET_PROSMA_PATH", "sideways")
    before = snapshot(home)
    status = call(USES[use], home)
    error = capsys.readouterr().err
    assert_one_sentence(status, error, "NNUNET_PROSMA_PATH must be one of .*, or unset, got 'sideways'")
    assert error.count("NNUNET_PROSMA_PATH") == 1
    assert snapshot(home) == before


@pytest.mark.parametrize("use", ["predict", "inspect"])
def test_a_segmentation_that_a_full_disk_cut_off_is_none(home, capsys, monkeypatch, use):
    """SimpleITK writes what finds room of a .nii.gz, and says nothing."""
    write = SimpleITKIO.write_seg

    def cut(self, segmentation, file, properties):
        write(self, segmentation, file, properties)
        Path(file).write_bytes(Path(file).read_bytes()[:-20])

    monkeypatch.setattr(SimpleITKIO, "write_seg", cut)
    before = snapshot(home)
    status = call(USES[use], home)
    assert_one_sentence(status, capsys.readouterr().err, r"case\.nii\.gz cannot be written whole .*cut off or damaged")
    assert snapshot(home) == before


def test_a_checkpoint_for_which_there_is_no_room_is_said_by_the_system(tmp_path):
    """torch makes an error of its own of it, in which the system's is only the context."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_checkpoint({"x": torch.randn(100_000)}, tmp_path / "x.pth")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_the_system_says_of_a_folders_copy_and_of_a_full_disk_is_one_sentence_with_a_file(tmp_path):
    with pytest.raises(OSError, match="No space") as caught, taken(tmp_path / "out"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert of_system(caught.value) == f"{tmp_path / 'out'} cannot be read or written: No space left on device"
    copied = shutil.Error([("a", "b", "[Errno 28] No space left on device: 'b'"), ("c", "d", "the same")])
    assert of_system(copied) == "a folder cannot be copied: [Errno 28] No space left on device: 'b' and 1 more"


PROCESSES = [name for name in WRONG if not name.startswith(("warm-start: checkpoint", "inspect: plans"))][::17][:15]


@pytest.mark.slow
@pytest.mark.parametrize("name", PROCESSES)
def test_as_a_process_too(home, name):
    wrong = WRONG[name]
    if wrong.damage:
        wrong.damage(home)
    before = snapshot(home)
    words = [word.replace("{home}", str(home)) for word in shlex.split(wrong.words)]
    folders = {f"nnUNet_{part}": str(home / part) for part in ("raw", "preprocessed", "results")}
    status, _, error = run_as_newcomer(COMMAND, *words, **folders)
    assert_one_sentence(status, error, wrong.says)
    assert snapshot(home) == before
