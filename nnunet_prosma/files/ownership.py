"""How a command knows its own earlier output: a list of its files with their checksums, beside them.

What the list does not name, or names with another checksum, is the user's and is never replaced.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nnunet_prosma import __version__
from nnunet_prosma.errors import InputError

MARKER = "made_by_nnunet_prosma.json"
IGNORED = (".DS_Store", "Thumbs.db", "desktop.ini")
"""What file managers leave in each folder that somebody looks at."""


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def marker(folder: Path) -> dict[str, Any] | None:
    """What the folder's list says; None where there is none that can be read."""
    try:
        content = json.loads((folder / MARKER).read_text())
    except (OSError, ValueError):
        return None
    whole = isinstance(content, dict) and isinstance(content.get("files"), dict)
    return content if whole else None


def write_marker(folder: Path, command: str, files: dict[str, str]) -> None:
    from nnunet_prosma.files import write_json

    write_json(folder / MARKER, {"command": command, "nnunet_prosma": __version__, "files": files})


def entries(folder: Path, kept: Sequence[str] = ()) -> list[str]:
    """All files below but the kept ones, and folders that hold nothing; paths below the folder."""
    found = []
    for where, folders, files in os.walk(folder):
        names = [*files, *(name for name in folders if Path(where, name).is_symlink())]
        inside = [Path(where, name).relative_to(folder).as_posix() for name in names if name not in IGNORED]
        if not folders and not files and Path(where) != folder:
            inside = [Path(where).relative_to(folder).as_posix()]
        found += [name for name in inside if name not in kept]
    return sorted(found)


def mark(folder: Path, command: str) -> None:
    """List all that is in the folder as the command's."""
    write_marker(folder, command, {name: sha256(folder / name) for name in entries(folder) if name != MARKER})


def refuse_foreign(folder: Path, command: str, kept: Sequence[str] = ()) -> None:
    """A folder whose files may be replaced: it is not there, or empty, or the command's and as it wrote it."""
    if folder.is_symlink() or folder.exists():
        if not folder.is_dir():
            raise InputError(f"{folder} is a file: -o must name a folder")
        there = entries(folder, kept)
        listed = marker(folder)
        if there and listed is None:
            raise InputError(
                f"{folder} holds {there[0]}, which nnunet-prosma {command} did not write: name an empty or a new folder"
            )
        if there and listed is not None and listed.get("command") != command:
            raise InputError(
                f"{folder} was made by nnunet-prosma {listed.get('command')}, not {command}: name another folder"
            )
        for name in there:
            if name != MARKER and listed is not None:
                refuse_changed(folder, name, command, listed["files"])


def refuse_changed(folder: Path, name: str, command: str, listed: dict[str, Any]) -> None:
    path = folder / name
    if name not in listed:
        raise InputError(
            f"{path} was not written by nnunet-prosma {command} and would be replaced: move it away, or name another "
            f"folder"
        )
    if path.is_symlink() or not path.is_file() or sha256(path) != listed[name]:
        raise InputError(
            f"{path} was changed since nnunet-prosma {command} wrote it: move it away, or name another folder"
        )
