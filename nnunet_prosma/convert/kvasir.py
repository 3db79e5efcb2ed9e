"""Kvasir-SEG: colonoscopy, images/ and masks/ with files of the same names. Masks are JPEG, so white is above 127."""

from pathlib import Path

from nnunet_prosma.convert.pairs import Pair, above
from nnunet_prosma.errors import InputError

SUFFIXES = (".jpg", ".jpeg", ".png")


def pairs(source: Path) -> list[Pair]:
    folders = {name: source / name for name in ("images", "masks")}
    missing = [name for name, folder in folders.items() if not folder.is_dir()]
    if missing:
        raise InputError(f"{source} has no folder {' and no '.join(missing)}: SOURCE must be Kvasir-SEG, unpacked")
    pictures = [p for p in folders["images"].iterdir() if p.suffix.lower() in SUFFIXES]
    masks = {p.stem: p for p in folders["masks"].iterdir() if p.suffix.lower() in SUFFIXES}
    return [Pair(p.stem, p, (masks.get(p.stem, folders["masks"] / p.name),), above(127)) for p in pictures]
