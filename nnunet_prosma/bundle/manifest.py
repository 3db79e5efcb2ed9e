"""What a bundle holds, file by file, so that damage and additions are seen before anything is read from it."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nnunet_prosma.errors import InputError

NAME = "manifest.json"
FORMAT = 1


def write_manifest(bundle: Path, content: dict[str, Any]) -> None:
    """content, and the size and sha256 of each file that the folder now holds."""
    files = {name: {"bytes": (bundle / name).stat().st_size, "sha256": sha256(bundle / name)} for name in held(bundle)}
    manifest = {"format": FORMAT, **content, "files": files}
    (bundle / NAME).write_text(json.dumps(manifest, indent=1, allow_nan=False) + "\n")


def read_manifest(bundle: Path) -> dict[str, Any]:
    """The manifest, once every file is what it says; else one sentence that names each that is not."""
    path = bundle / NAME
    if not path.is_file():
        raise InputError(f"{bundle} is no bundle: it has no {NAME}; nnunet-prosma bundle makes one")
    try:
        manifest = json.loads(path.read_text())
        written_as, problems = manifest["format"], list(differences(bundle, manifest["files"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f"{path} is damaged: copy the bundle again from where it was made") from None
    if written_as != FORMAT:
        raise InputError(f"{path} is of format {written_as}, and this version reads format {FORMAT}")
    if problems:
        raise InputError(f"{bundle} is not as it was made: {'; '.join(problems)}; copy it again, or make it again")
    return dict(manifest)


def differences(bundle: Path, wanted: dict[str, Any]) -> Iterator[str]:
    there = set(held(bundle))
    for name in sorted(wanted.keys() | there):
        if name not in there:
            yield f"{name} is missing"
        elif name not in wanted:
            yield f"{name} was added"
        elif (bundle / name).stat().st_size != wanted[name]["bytes"] or sha256(bundle / name) != wanted[name]["sha256"]:
            yield f"{name} was changed"


def held(bundle: Path) -> list[str]:
    """Every file of the folder but the manifest, by its name there."""
    files = (path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if not path.is_dir())
    return sorted(name for name in files if name != NAME)


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
