"""Writes pairs of pictures and masks as a raw data set of nnU-Net: all of it, or nothing."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnunet_prosma.convert.pairs import Pair, refuse
from nnunet_prosma.convert.splits import HELD_OUT, splits
from nnunet_prosma.errors import InputError
from nnunet_prosma.files import folder_made_whole, write_json
from nnunet_prosma.progress import progress_bar

LABELS = {"background": 0, "foreground": 1}
FEWEST = 5
"""Cases from which a fifth can be held out."""


def free_folder(raw: Path, number: int, name: str) -> Path:
    """The folder of the new data set; nnU-Net knows data sets by their number, so that must be free."""
    taken = sorted(raw.glob(f"Dataset{number:03d}_*"))
    if taken:
        raise InputError(f"number {number} is taken by {taken[0]}; remove it, or give another DATASET_ID")
    return raw / f"Dataset{number:03d}_{name}"


def write(folder: Path, pairs: Sequence[Pair], size: int | None) -> Path:
    """Reads every pair, refuses all that cannot be used together, and only then shows the folder under its name."""
    pairs = in_order(pairs)
    if len(pairs) < FEWEST:
        raise InputError(f"there are {len(pairs)} pictures, and it takes {FEWEST} to hold out {HELD_OUT:.0%} of them")
    with folder_made_whole(folder) as partial:
        for part in ("imagesTr", "labelsTr"):
            (partial / part).mkdir(parents=True)
        problems = []
        for pair in progress_bar(pairs, desc=folder.name, unit="picture"):
            try:
                image, mask = pair.read()
            except ValueError as error:
                problems.append(str(error))
                continue
            if not problems:
                _save(partial / "imagesTr" / f"{pair.case}_0000.png", resized(image, size, "bilinear"))
                _save(partial / "labelsTr" / f"{pair.case}.png", resized(mask, size, "nearest"))
        refuse(problems)
        write_json(partial / "dataset.json", description(len(pairs)))
        write_json(partial / "splits_final.json", splits([pair.case for pair in pairs]))
    return folder


def in_order(pairs: Sequence[Pair]) -> list[Pair]:
    """Sorted as U-KAN sorts: by the names of the PNG files that it makes of the pictures. Names must differ."""
    ordered = sorted(pairs, key=lambda pair: f"{pair.image.stem}.png")
    seen: dict[str, Pair] = {}
    for pair in ordered:
        if not re.fullmatch(r"[\w.-]+", pair.case):
            raise InputError(f"{pair.image} must be named by letters, digits, '_', '-' and '.', as nnU-Net's cases are")
        first = seen.setdefault(pair.case, pair)
        if first is not pair:
            raise InputError(f"{first.image} and {pair.image} would be the same case {pair.case}; rename one")
    return ordered


def description(cases: int) -> dict[str, object]:
    return {
        "channel_names": {"0": "R", "1": "G", "2": "B"},
        "labels": LABELS,
        "numTraining": cases,
        "file_ending": ".png",
        "overwrite_image_reader_writer": "NaturalImage2DIO",
    }


def resized(array: NDArray[np.uint8], size: int | None, mode: str) -> NDArray[np.uint8]:
    """The image at size x size as OpenCV does it, on which U-KAN's resizing stands: no smoothing before, aspect not
    kept."""
    if size is None or array.shape[:2] == (size, size):
        return array
    import torch

    planes = torch.from_numpy(np.array(array, dtype=np.float32)).reshape(*array.shape[:2], -1).permute(2, 0, 1)[None]
    kwargs = {"align_corners": False} if mode == "bilinear" else {}
    scaled = torch.nn.functional.interpolate(planes, (size, size), mode=mode, **kwargs)
    return scaled[0].permute(1, 2, 0).round().byte().numpy().reshape(size, size, *array.shape[2:])


def _save(path: Path, array: NDArray[np.uint8]) -> None:
    from PIL import Image

    Image.fromarray(array).save(path)
