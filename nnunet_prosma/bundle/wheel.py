"""The installed plugin as a wheel again, without sources, tools or network: its files, and a list of them."""

import base64
import csv
import hashlib
import io
import re
import shutil
import zipfile
from importlib import metadata
from pathlib import Path

from packaging.utils import canonicalize_name

from nnunet_prosma.errors import InputError

NAME = "nnunet-prosma"
NOT_OF_THE_WHEEL = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")
"""What pip adds to a wheel's metadata on installing it."""


def write_wheel(folder: Path) -> Path:
    """The wheel of the version that runs here; an editable install, which has only a pointer, is refused."""
    distribution = metadata.distribution(NAME)
    files = {str(file): Path(str(distribution.locate_file(file))) for file in distribution.files or []}
    if "nnunet_prosma/gate.py" not in files:
        raise InputError(
            f"{NAME} is installed as editable, so that its files cannot be gathered: install it (pip install .), or "
            f"give a wheel of it with --wheel"
        )
    information = f"nnunet_prosma-{distribution.version}.dist-info"
    wanted = sorted(name for name in files if _of_the_wheel(name, information))
    missing = [name for name in wanted if not files[name].is_file()]
    if missing:
        raise InputError(f"{NAME} is installed incompletely, {missing[0]} is missing: install it again")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"nnunet_prosma-{distribution.version}-py3-none-any.whl"
    record = io.StringIO()
    rows = csv.writer(record, lineterminator="\n")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in wanted:
            content = files[name].read_bytes()
            archive.writestr(_entry(name), content, zipfile.ZIP_DEFLATED)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            rows.writerow((name, f"sha256={digest}", len(content)))
        rows.writerow((f"{information}/RECORD", "", ""))
        archive.writestr(_entry(f"{information}/RECORD"), record.getvalue(), zipfile.ZIP_DEFLATED)
    return path


def take_wheel(folder: Path, given: Path | None) -> Path:
    """The wheel that was given, or else one of the installed package."""
    if given is None:
        return write_wheel(folder)
    try:
        with zipfile.ZipFile(given) as archive:
            ours = "nnunet_prosma/gate.py" in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        ours = False
    if not ours or not re.fullmatch(r"nnunet_prosma-[\w.+!]+-py3-none-any\.whl", given.name):
        raise InputError(f"--wheel {given} is not a wheel of nnunet-prosma")
    folder.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copyfile(given, folder / given.name))


def write_installed(folder: Path, bundle: Path, given: Path | None) -> None:
    """wheels/ and requirements.txt of what a container installs: this package as it is here, and the bundle's pins.

    A bundle's own wheel is code of whoever made it, and is not taken.
    """
    wheel = take_wheel(folder / "wheels", given)
    lines = ["--find-links wheels"]
    for line in (bundle / "requirements.txt").read_text(errors="replace").splitlines():
        pin = re.fullmatch(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9.!]+)", line)
        if pin is None and line and not line.startswith("#") and line != "--find-links wheels":
            raise InputError(
                f"{bundle / 'requirements.txt'} may only hold lines such as numpy==2.1.0, and holds {line!r}"
            )
        if pin is not None and canonicalize_name(pin[1]) != NAME:
            lines.append(line)
    lines.append(f"{NAME}=={wheel.name.split('-')[1]}")
    (folder / "requirements.txt").write_text("\n".join(lines) + "\n")


def _of_the_wheel(name: str, information: str) -> bool:
    if name.startswith(("..", "/")) or "__pycache__" in name:  # the command, which pip makes anew, and caches
        return False
    return not (name.startswith(information) and name.rpartition("/")[2] in NOT_OF_THE_WHEEL)


def _entry(name: str) -> zipfile.ZipInfo:
    """An entry of the archive with one date for all files, so that the same files give the same wheel."""
    entry = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))
    entry.external_attr = 0o644 << 16
    return entry
