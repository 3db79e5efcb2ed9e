"""nnU-Net's dataset_fingerprint.json: sizes, spacings and intensities of the training cases."""

from pathlib import Path

from nnunet_prosma.host.check import read_checked
from nnunet_prosma.host.schema import FingerprintFile

NAME = "dataset_fingerprint.json"


def read_fingerprint(folder: Path) -> FingerprintFile | None:
    """The fingerprint in this folder; None where there is none."""
    path = folder / NAME
    return read_checked(path, FingerprintFile)[1] if path.is_file() else None
