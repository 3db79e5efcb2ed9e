"""BUSI (Dataset_BUSI_with_GT): breast ultrasound; benign, malignant and normal, some with several lesions a picture.

"benign (4).png" has "benign (4)_mask.png", and where there are more lesions "benign (4)_mask_1.png", ..., which are
joined here. Masks are black and white, some with transparency, which does not count.
"""

from pathlib import Path

from nnunet_prosma.convert.pairs import Pair, above
from nnunet_prosma.errors import InputError

LESIONS = ("benign", "malignant")


def pairs(source: Path, *, normal: bool, first_mask_only: bool, other_size: str) -> list[Pair]:
    kinds = [*LESIONS, *["normal"] * normal]
    missing = [kind for kind in kinds if not (source / kind).is_dir()]
    if missing:
        raise InputError(
            f"{source} has no folder {' and no '.join(missing)}: SOURCE must be Dataset_BUSI_with_GT, with one for "
            f"each of {', '.join(kinds)}"
        )
    files = [p for kind in kinds for p in (source / kind).iterdir() if p.suffix.lower() == ".png"]
    pictures = [p for p in files if "_mask" not in p.stem]
    found = []
    for picture in pictures:
        masks = sorted(p for p in files if p.parent == picture.parent and p.stem.startswith(f"{picture.stem}_mask"))
        first = picture.with_name(f"{picture.stem}_mask.png")
        further = [p for p in masks if p != first]
        chosen = (first, *([] if first_mask_only else further))
        case = picture.stem.replace(" (", "_").replace(")", "")
        found.append(Pair(case, picture, chosen, above(127), other_size))
    return found
