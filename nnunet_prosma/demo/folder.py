"""The demo's folder: what lies in it, and whose it is."""

import shutil
from pathlib import Path

from nnunet_prosma.errors import InputError

MARKER = "made_by_nnunet_prosma_demo.txt"
OWN = ("raw", "preprocessed", "results", "predictions", "inspect", "logs", "demo.png", "demo.json")
"""Everything that the demo makes in its folder, beside the marker; nothing else in there is ever removed."""


def claim(folder: Path, overwrite: bool) -> None:
    """Makes the folder and marks it as the demo's. One that holds something is refused, unless it may be emptied."""
    marker = folder / MARKER
    if folder.exists() and not folder.is_dir():
        raise InputError(f"the demo writes into a folder, and {folder} is a file; name another with -o")
    if folder.is_dir() and any(folder.iterdir()):
        if not marker.is_file():
            raise InputError(f"{folder} holds files that are not the demo's; name an empty or a new folder with -o")
        if not overwrite:
            raise InputError(f"{folder} holds a demo already; --overwrite replaces it, -o names another folder")
        for name in OWN:
            _remove(folder / name)
    folder.mkdir(parents=True, exist_ok=True)
    marker.write_text(f"nnunet-prosma demo --overwrite removes from this folder: {', '.join(OWN)}\n")
    (folder / "logs").mkdir()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
