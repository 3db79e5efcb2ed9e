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
    files = {name: by_case(folder) for name, folder in folders.items()}
    found = []
    for case in dict.fromkeys([*files["images"], *files["masks"]]):
        image, mask = files["images"].get(case), files["masks"].get(case)
        image = image or folders["images"] / mask.name  # type: ignore[union-attr]
        found.append(Pair(case, image, (mask or folders["masks"] / image.name,), above(127)))
    return found


def by_case(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES):
        if path.stem in found:
            raise InputError(
                f"{found[path.stem]} and {path.name} would be one case: take one of them out of the folder"
            )
        found[path.stem] = path
    return found
