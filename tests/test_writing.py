"""Every output is there and whole or not there, and what is the user's stays."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nnunet_prosma import files
from nnunet_prosma.errors import InputError
from nnunet_prosma.files import file_made_whole, folder_made_whole, is_json_of, leftovers, write_json_of, write_text
from nnunet_prosma.files.ownership import MARKER

WRITER = """
import sys, pathlib
from nnunet_prosma.files import file_made_whole, folder_made_whole
made = {"file": file_made_whole, "folder": lambda path: folder_made_whole(path, "compare")}[sys.argv[1]]
with made(pathlib.Path(sys.argv[2])) as temporary:
    (temporary / "half" if sys.argv[1] == "folder" else temporary).write_text("half")
    print("writing", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def writer():
    """Starts a process that has written half of the output, and waits."""
    started = []

    def start(kind, path):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, kind, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout.readline() == "writing\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def tree(folder):
    """Every path below with its content; folders too."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")
    }


def fill(path, content="new"):
    with folder_made_whole(path, "compare") as folder:
        (folder / "figures").mkdir()
        (folder / "figures" / "a.svg").write_text(content)
        (folder / "report.html").write_text(content)


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_of_two_writers_of_one_output_one_is_refused_and_the_other_ends_well(kind, writer, tmp_path):
    path = tmp_path / "out"
    first = writer(kind, path)
    made = file_made_whole if kind == "file" else folder_made_whole
    with pytest.raises(InputError, match=f"out is being written by process {first.pid}"), made(path):
        pass
    first.communicate("")
    assert first.returncode == 0
    assert (path if kind == "file" else path / "half").read_text() == "half"
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_a_kill_left_is_no_output_and_the_next_run_removes_it(kind, writer, tmp_path):
    path = tmp_path / "out"
    killed = writer(kind, path)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    (left,) = os.listdir(tmp_path)
    assert left.startswith(".out.")
    assert f".{killed.pid}." in left
    assert left.endswith(".part")
    fill(path) if kind == "folder" else write_json_of("metrics", path, {})
    assert os.listdir(tmp_path) == ["out"]


def test_a_kill_leaves_the_earlier_report_as_it_was(writer, tmp_path):
    fill(tmp_path / "out", "old")
    before = tree(tmp_path)
    killed = writer("folder", tmp_path / "out")
    killed.kill()
    killed.wait()
    assert {name: content for name, content in tree(tmp_path).items() if not name.startswith(".")} == before


def test_another_hosts_and_a_living_processs_leftovers_stay(tmp_path):
    me, start = os.getpid(), leftovers.start_of(os.getpid())
    dead = f".out.{leftovers.host()}.{me}.{int(start) + 1 if start.isdigit() else 1}.part"  # our number used before us
    other = f".out.other-host.{me}.{start}.part"
    parent = f".out.{leftovers.host()}.{os.getppid()}.{leftovers.start_of(os.getppid())}.part"
    longer = f".out.v2.{leftovers.host()}.{me}.1.part"  # of an output that is named out.v2
    for name in (dead, other, parent, longer):
        (tmp_path / name).mkdir()
    write_text(tmp_path / "out", "mine")
    assert sorted(os.listdir(tmp_path)) == sorted([other, parent, longer, "out"])
    (tmp_path / parent).rmdir()
    (tmp_path / "out").unlink()
    with pytest.raises(InputError, match=r"of other-host, or was when that ended: .* remove .*other-host"):
        fill(tmp_path / "out")


@pytest.mark.parametrize("exchange", [True, False], ids=["in one step", "in two steps"])
def test_an_earlier_output_is_replaced_as_a_whole(exchange, tmp_path, monkeypatch):
    if not exchange:
        monkeypatch.setattr(files, "_exchanged", lambda one, other: False)
    fill(tmp_path / "out", "old")
    (tmp_path / "out" / "figures" / "a.svg").rename(tmp_path / "out" / "figures" / "gone.svg")
    (tmp_path / "out" / "figures" / "gone.svg").unlink()
    (tmp_path / "out" / "figures").rmdir()
    fill(tmp_path / "out")
    assert set(tree(tmp_path)) == {"out", "out/figures", "out/figures/a.svg", "out/report.html", f"out/{MARKER}"}
    assert (tmp_path / "out" / "report.html").read_text() == "new"


def test_a_kill_between_two_steps_is_mended_by_the_next_run(tmp_path):
    fill(tmp_path / "out", "old")
    part = tmp_path / f".out.{leftovers.host()}.{os.getpid()}.1.part"
    part.mkdir()
    (tmp_path / "out").rename(part / "old")
    with pytest.raises(ZeroDivisionError), folder_made_whole(tmp_path / "out", "compare"):
        raise ZeroDivisionError
    assert (tmp_path / "out" / "report.html").read_text() == "old"


@pytest.mark.parametrize("where", ["summary.json", "figures/mine.png", "empty/"])
@pytest.mark.parametrize("earlier", [True, False])
def test_a_folder_with_files_of_the_users_is_refused_and_left_alone(where, earlier, tmp_path):
    if earlier:
        fill(tmp_path / "out")
    path = tmp_path / "out" / where
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir() if where.endswith("/") else path.write_text("mine")
    before = tree(tmp_path)
    with pytest.raises(InputError, match=f"out.{where.rstrip('/')}.*name .*folder|holds {where.rstrip('/')}, which"):
        fill(tmp_path / "out")
    assert tree(tmp_path) == before


def test_a_file_that_the_user_changed_is_refused_and_left_alone(tmp_path):
    fill(tmp_path / "out")
    (tmp_path / "out" / "report.html").write_text("my notes")
    with pytest.raises(InputError, match=r"report.html was changed since nnunet-prosma compare wrote it"):
        fill(tmp_path / "out")
    assert (tmp_path / "out" / "report.html").read_text() == "my notes"


def test_another_commands_folder_and_a_file_are_refused(tmp_path):
    fill(tmp_path / "out")
    with pytest.raises(InputError, match="was made by nnunet-prosma compare, not inspect"):
        folder_made_whole(tmp_path / "out", "inspect").__enter__()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="file is a file: -o must name a folder"):
        fill(tmp_path / "file")
    with pytest.raises(InputError, match="out is there already"):
        folder_made_whole(tmp_path / "out").__enter__()


def test_what_appears_while_the_work_goes_on_is_not_replaced(tmp_path):
    def work():
        with folder_made_whole(tmp_path / "out", "compare"):
            (tmp_path / "out").mkdir()
            (tmp_path / "out" / "mine.txt").write_text("mine")

    with pytest.raises(InputError, match=r"holds mine.txt, which nnunet-prosma compare did not write"):
        work()
    assert tree(tmp_path) == {"out": None, "out/mine.txt": b"mine"}


def test_a_failure_leaves_no_folder_behind_not_even_those_above(tmp_path):
    with pytest.raises(ZeroDivisionError), folder_made_whole(tmp_path / "a" / "b" / "out", "compare"):
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


def test_a_cache_inside_stays_through_failure_and_success(tmp_path):
    for fails in (True, False, False):
        try:
            with folder_made_whole(tmp_path / "out", "compare", kept=("cache/x.jsonl",)) as folder:
                (tmp_path / "out" / "cache").mkdir(parents=True, exist_ok=True)
                with (tmp_path / "out" / "cache" / "x.jsonl").open("a") as cache:
                    cache.write("line\n")
                (folder / "report.html").write_text("new")
                if fails:
                    raise ZeroDivisionError
        except ZeroDivisionError:
            assert fails
    assert (tmp_path / "out" / "cache" / "x.jsonl").read_text() == "line\n" * 3
    assert sorted(os.listdir(tmp_path / "out")) == ["cache", MARKER, "report.html"]


def test_a_file_is_replaced_only_if_it_is_of_the_same_command(tmp_path):
    path = tmp_path / "out.json"
    for content in ({"a": 1}, {"a": 2}):
        write_json_of("metrics", path, content)
    assert json.loads(path.read_text()) == {"made_by": "nnunet-prosma metrics", "a": 2}
    with pytest.raises(InputError, match=r"out.json is there already and not an output of this command"):
        write_json_of("benchmark", path, {})
    path.write_text("mine")
    with pytest.raises(InputError, match=r"out.json is there already"):
        file_made_whole(path, is_json_of("metrics")).__enter__()
    assert path.read_text() == "mine"


def test_the_longest_name_that_a_file_system_takes_can_be_written(tmp_path):
    name = "ü" * 127
    write_text(tmp_path / name, "whole")
    fill(tmp_path / "deep" / name)
    assert (tmp_path / name).read_text() == "whole"
    assert (tmp_path / "deep" / name / "report.html").is_file()


def test_the_folder_in_which_the_command_runs_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="is where this command runs, or is mounted: name a folder in it"):
        fill(Path("."))


def test_the_start_of_a_process_is_told_without_proc_too(monkeypatch):
    mine = leftovers.start_of(os.getpid())
    assert mine
    assert mine == leftovers.start_of(os.getpid())
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert leftovers.start_of(gone.pid) == ""
    there = os.path.isdir
    monkeypatch.setattr(os.path, "isdir", lambda path: path != "/proc/self" and there(path))
    mine = leftovers.start_of(os.getpid())
    assert mine
    assert mine == leftovers.start_of(os.getpid())
    assert leftovers.start_of(gone.pid) == ""
