"""Reading and writing whole: damaged JSON is one sentence, and what is written is there and whole, or not there."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nnunet_prosma.errors import InputError

KINDS: dict[type, str] = {dict: "object", list: "list"}


def read_json(path: Path, kind: type = dict) -> Any:
    """What stands in the file: a dict, or a list if kind says so."""
    if not path.is_file():
        raise InputError(f"{path} is missing")
    try:
        content = json.loads(path.read_text())
    except RecursionError:
        raise InputError(f"{path} cannot be read: it is nested too deeply") from None
    except (ValueError, OSError) as error:
        raise InputError(f"{path} cannot be read ({error}): it is cut off or damaged") from None
    if not isinstance(content, kind):
        raise InputError(f"{path} must hold a JSON {KINDS[kind]}, not a {type(content).__name__}")
    return content


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """The temporary name to write to. What stands at path is replaced when the block ends well, else left alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    _remove(temporary)
    try:
        yield temporary
        if path.is_dir() and temporary.is_dir():
            _remove(path)  # one folder cannot be renamed over one that holds something
        os.replace(temporary, path)
    finally:
        _remove(temporary)


def write_bytes(path: Path, content: bytes) -> None:
    with written_whole(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def write_json(path: Path, content: Any) -> None:
    """Strict JSON: what is not a number must be None in content."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
