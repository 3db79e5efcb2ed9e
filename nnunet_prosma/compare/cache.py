"""What was measured, kept so that a second run is instant and a killed one goes on where it was."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nnunet_prosma.errors import InputError

VERSION = 2
"""Counted up when the same files would give other numbers."""


class Cache:
    """One line of JSON for each result, appended as it comes: a kill loses at most the line that was being written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known: dict[str, Any] = {}
        if path.is_dir():
            raise InputError(f"{path} is a folder, and must be a file with what compare measured: name another --cache")
        if path.is_file():
            for line in path.read_text(errors="replace").splitlines():
                try:
                    entry = json.loads(line)
                    self.known[entry["key"]] = entry["value"]
                except (ValueError, KeyError, TypeError):
                    continue  # the line that a kill cut off
            if path.stat().st_size and not self.known:
                raise InputError(f"{path} is not what compare measured: name another folder with --cache")

    def get(self, key: str) -> Any | None:
        return self.known.get(key)

    def put(self, key: str, value: Any) -> None:
        self.known[key] = value
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab+") as file:
            if file.tell() and not _ends_with_newline(file):
                file.write(b"\n")
            file.write((json.dumps({"key": key, "value": value}) + "\n").encode())
            file.flush()
            os.fsync(file.fileno())


def fingerprint(files: Sequence[Path], *settings: Any) -> str:
    """A digest of files by path, size and time of change, and of settings."""
    parts = [[str(f.resolve()), (stat := f.stat()).st_size, stat.st_mtime_ns] for f in files]
    return hashlib.sha256(json.dumps([VERSION, parts, settings]).encode()).hexdigest()[:32]


def _ends_with_newline(file: Any) -> bool:
    file.seek(-1, os.SEEK_END)
    return bool(file.read(1) == b"\n")
