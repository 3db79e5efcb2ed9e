"""The images of a folder as nnU-Net's predictions take them: CASE_0000.nii.gz, CASE_0001.nii.gz, ..."""

import re
import sys
from pathlib import Path

from nnunet_prosma.errors import InputError, first_of


def cases_in(folder: Path, ending: str) -> dict[str, list[str]]:
    """Each case with its files in the order of channels, also of a channel that is missing; no case is an InputError.

    nnU-Net passes over links that lead nowhere, and takes channel 1 for channel 0 where that is missing. A file whose
    name tells no channel, such as a segmentation, is passed over, and that is said.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: -i must name the folder of the images")
    highest: dict[str, int] = {}
    others = []
    for path in sorted(path for path in folder.iterdir() if path.name.endswith(ending)):
        if found := re.fullmatch(r"(.+)_(\d{4})", path.name.removesuffix(ending), re.ASCII):
            highest[found[1]] = max(int(found[2]), highest.get(found[1], 0))
        else:
            others.append(str(path))
    if not highest:
        raise InputError(f"{folder} holds no image: their names must be CASE_0000{ending}, as for nnUNetv2_predict")
    if others:
        print(f"passed over: {first_of(others)}, since images are named CASE_0000{ending}", file=sys.stderr)
    return {name: [str(folder / f"{name}_{c:04d}{ending}") for c in range(n + 1)] for name, n in highest.items()}
