"""What a bundle holds, file by file, so that damage and additions are seen before anything is read from it."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct
from packaging.version import InvalidVersion, Version

from nnunet_prosma.bundle.postprocessing import Step
from nnunet_prosma.errors import InputError
from nnunet_prosma.files import read_json
from nnunet_prosma.files.ownership import sha256
from nnunet_prosma.host.check import checked

NAME = "manifest.json"
FORMAT = 1
WITH_SMOOTHING = 2
"""Versions that know no smoothing refuse such a bundle, and do not leave it out unseen."""


class File(Struct):
    bytes: int
    sha256: str


class BundledModel(Struct):
    """name is that of its folder below models, in which its plans and folds are."""

    name: str
    configuration: str
    folds: list[str]
    crossvalidation_dice: float | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w.+-]+", self.name) or set(self.name) == {"."}:
            raise ValueError("`name` must be a folder's name: letters, digits, '_', '-', '+' and '.'")
        if not self.folds or not all(re.fullmatch(r"[0-9]+|all", fold) for fold in self.folds):
            raise ValueError("`folds` must hold numbers of folds, or all")


class Manifest(Struct):
    files: dict[str, File]
    models: list[BundledModel]
    postprocessing: list[Step] | None = None
    python: str | None = None
    smoothing: str | None = None
    """The file that says how, which stands beside the manifest."""
    versions: dict[str, str] = {}

    def __post_init__(self) -> None:
        names = [model.name for model in self.models]
        if len(set(names)) < len(names):
            raise ValueError("`models` must name each model once")
        for name in ("postprocessing", "python"):
            if self.models and getattr(self, name) is None:
                raise ValueError(f"`{name}` must be there")
        if self.smoothing is not None and self.smoothing not in self.files:
            raise ValueError("`smoothing` must be a file of the bundle")
        for version in self.versions.values():
            try:
                Version(version)
            except InvalidVersion:
                raise ValueError("`versions` must hold versions such as 1.2.3") from None


def write_manifest(bundle: Path, content: dict[str, Any]) -> None:
    """Writes the manifest: content, and the size and sha256 of each file that the folder now holds."""
    files = {name: {"bytes": (bundle / name).stat().st_size, "sha256": sha256(bundle / name)} for name in held(bundle)}
    written_as = WITH_SMOOTHING if content.get("smoothing") else FORMAT
    manifest = {"format": written_as, **content, "files": files}
    (bundle / NAME).write_text(json.dumps(manifest, indent=1, allow_nan=False) + "\n")


def read_manifest(bundle: Path) -> dict[str, Any]:
    """The manifest, once every file is what it says; else one sentence that names each that is not."""
    path = bundle / NAME
    if not path.is_file():
        raise InputError(f"{bundle} is no bundle: it has no {NAME}; nnunet-prosma bundle makes one")
    try:
        manifest = read_json(path)
        written_as = manifest["format"]
    except (InputError, KeyError):
        raise InputError(f"{path} is damaged: copy the bundle again from where it was made") from None
    if written_as not in (FORMAT, WITH_SMOOTHING):
        raise InputError(
            f"{path} is of format {written_as}, and this version reads formats {FORMAT} and {WITH_SMOOTHING}"
        )
    try:
        said = checked(manifest, Manifest, str(path))
    except InputError as error:
        raise InputError(f"{path} is damaged: copy the bundle again from where it was made ({error})") from None
    if problems := list(differences(bundle, said.files)):
        raise InputError(f"{bundle} is not as it was made: {'; '.join(problems)}; copy it again, or make it again")
    return dict(manifest)


def differences(bundle: Path, wanted: dict[str, File]) -> Iterator[str]:
    there = set(held(bundle))
    for name in sorted(wanted.keys() | there):
        path = bundle / name
        if name not in there:
            yield f"{name} is missing"
        elif path.is_symlink():
            yield f"{name} is a link to elsewhere"
        elif name not in wanted:
            yield f"{name} was added"
        elif not path.is_file() or path.stat().st_size != wanted[name].bytes or sha256(path) != wanted[name].sha256:
            yield f"{name} was changed"


def held(bundle: Path) -> list[str]:
    """Every file of the folder but the manifest, and every link, by its name there."""
    found = []
    for where, folders, files in os.walk(bundle):
        names = [*files, *(name for name in folders if Path(where, name).is_symlink())]
        found += [Path(where, name).relative_to(bundle).as_posix() for name in names]
    return sorted(name for name in found if name != NAME)
