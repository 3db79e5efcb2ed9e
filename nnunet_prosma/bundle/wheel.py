"""The installed plugin as a wheel again, without sources, tools or network: its files, and a list of them."""

import base64
import csv
import hashlib
import io
import zipfile
from importlib import metadata
from pathlib import Path

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


def _of_the_wheel(name: str, information: str) -> bool:
    if name.startswith(("..", "/")) or "__pycache__" in name:  # the command, which pip makes anew, and caches
        return False
    return not (name.startswith(information) and name.rpartition("/")[2] in NOT_OF_THE_WHEEL)


def _entry(name: str) -> zipfile.ZipInfo:
    """With one date for all files, so that the same files give the same wheel."""
    entry = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))
    entry.external_attr = 0o644 << 16
    return entry
