"""Reading and writing whole: damaged JSON is one sentence, and what is written is there and whole, or not there.

- write_bytes, write_text, write_json: a file in a folder that is the command's own; replaced in one step.
- file_made_whole: a file that the user named. One that is there is replaced only if it is ours.
- folder_made_whole: a folder that the user named: a new one, or an earlier output of the same command in its place.

Of two processes that write one output at once, one is refused (the last two).
"""

import ctypes
import errno
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nnunet_prosma.errors import InputError
from nnunet_prosma.files.leftovers import NEW, OLD, name_file, remove, remove_dead, taken, temporary_name
from nnunet_prosma.files.ownership import mark, refuse_foreign

KINDS: dict[type, str] = {dict: "object", list: "list"}
HALF = re.compile(r"\\u[dD][89a-fA-F]")
"""JSON's way to write half of a surrogate pair: two make a character, and one alone is none."""


def read_json(path: Path, kind: type = dict) -> Any:
    """What stands in the file: a dict, or a list if kind says so."""
    if not path.is_file():
        raise InputError(f"{path} is missing")
    try:
        text = path.read_text()
        content = json.loads(text)
        if HALF.search(text):
            json.dumps(content, ensure_ascii=False).encode()
    except RecursionError:
        raise InputError(f"{path} cannot be read: it is nested too deeply") from None
    except (ValueError, OSError) as error:
        raise InputError(f"{path} cannot be read ({error}): it is cut off or damaged") from None
    if not isinstance(content, kind):
        raise InputError(f"{path} must hold a JSON {KINDS[kind]}, not a {type(content).__name__}")
    return content


@contextmanager
def file_made_whole(path: Path, ours: Callable[[Path], bool] | None = None) -> Iterator[Path]:
    """The temporary name to write to. ours tells whether what stands at path is an earlier output; else it is refused.

    What stands at path is replaced when the block ends well, else left alone.
    """
    refuse_file(path, ours)
    with taken(path) as folder:
        yield folder / NEW
        refuse_file(path, ours)
        os.replace(folder / NEW, path)


def refuse_file(path: Path, ours: Callable[[Path], bool] | None = None) -> None:
    if path.is_dir():
        raise InputError(f"{path} is a folder, and a file is to be written: name a file")
    if os.path.lexists(path) and not (ours and path.is_file() and ours(path)):
        raise InputError(f"{path} is there already and not an output of this command: name another file")


@contextmanager
def folder_made_whole(path: Path, replaces: str | None = None, kept: Sequence[str] = ()) -> Iterator[Path]:
    """The temporary folder to fill. It takes its place when the block ends well; else nothing is changed.

    replaces: the command whose earlier output may stand at path; None if nothing may. kept: files in it that stay, such
    as a cache that is written meanwhile.
    """

    def refuse() -> None:
        if replaces is not None:
            refuse_foreign(path, replaces, kept)
        elif os.path.lexists(path):
            raise InputError(f"{path} is there already: name another folder")

    if replaces is not None and path.is_dir():
        path = path.resolve()
        if Path.cwd().is_relative_to(path) or os.path.ismount(path):
            raise InputError(f"{path} is where this command runs, or is mounted: name a folder in it")
    refuse()
    with taken(path) as own:
        folder = own / NEW
        folder.mkdir()
        yield folder
        if replaces is not None:
            mark(folder, replaces)
        refuse()  # again, since hours may have passed
        old = _put(folder, path)
        for name in kept:
            if os.path.lexists(old / name):
                (path / name).parent.mkdir(parents=True, exist_ok=True)
                os.rename(old / name, path / name)


def _put(new: Path, path: Path) -> Path:
    """Rename it to path; where what stood there is then. In one step, so that a kill finds the one or the other."""
    if not os.path.lexists(path):
        os.rename(new, path)
    elif not _exchanged(new, path):
        old = new.with_name(OLD)
        os.rename(path, old)  # a kill here is mended by remove_dead
        try:
            os.rename(new, path)
        except OSError:
            os.rename(old, path)
            raise
        return old
    return new


def _exchanged(one: Path, other: Path) -> bool:
    library = ctypes.CDLL(None, use_errno=True) if os.name == "posix" else None
    names = os.fsencode(one), os.fsencode(other)
    if sys.platform == "linux" and hasattr(library, "renameat2"):
        here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
        done = library.renameat2(here, names[0], here, names[1], exchange) == 0  # type: ignore[union-attr]
    elif sys.platform == "darwin" and hasattr(library, "renamex_np"):
        done = library.renamex_np(*names, 2) == 0  # type: ignore[union-attr]  # RENAME_SWAP
    else:
        return False
    if not done and ctypes.get_errno() not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(other))
    return done


def is_json_of(command: str) -> Callable[[Path], bool]:
    """Whether a JSON file is an earlier output of the command, which write_json_of wrote."""

    def ours(path: Path) -> bool:
        try:
            content = json.loads(path.read_text())
        except (OSError, ValueError):
            return False
        return isinstance(content, dict) and content.get("made_by") == f"nnunet-prosma {command}"

    return ours


def write_json_of(command: str, path: Path, content: dict[str, Any]) -> None:
    """Writes to a file that the user named, with the command in it."""
    with file_made_whole(path, is_json_of(command)) as temporary:
        temporary.write_text(as_json({"made_by": f"nnunet-prosma {command}", **content}))


def write_bytes(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    remove_dead(path)
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as error:
        name_file(error, path)
        raise
    finally:
        remove(temporary)


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def write_json(path: Path, content: Any) -> None:
    """Strict JSON: what is not a number must be None in content."""
    write_text(path, as_json(content))


def as_json(content: Any) -> str:
    return json.dumps(content, indent=1, allow_nan=False) + "\n"
