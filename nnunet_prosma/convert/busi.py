"""BUSI (Dataset_BUSI_with_GT): breast ultrasound; benign, malignant and normal, some with several lesions a picture.

"benign (4).png" has "benign (4)_mask.png", and where there are more lesions "benign (4)_mask_1.png", ..., which are
joined here. Masks are black and white, some with transparency, which does not count.
"""

from pathlib import Path

from nnunet_prosma.convert.pairs import Pair, above
from nnunet_prosma.errors import InputError

LESIONS = ("benign", "malignant")
MASK = "_mask"


def pairs(source: Path, *, normal: bool, first_mask_only: bool, other_size: str) -> list[Pair]:
    kinds = [*LESIONS, *["normal"] * normal]
    missing = [kind for kind in kinds if not (source / kind).is_dir()]
    if missing:
        raise InputError(
            f"{source} has no folder {' and no '.join(missing)}: SOURCE must be Dataset_BUSI_with_GT, with one for "
            f"each of {', '.join(kinds)}"
        )
    further: dict[Path, list[Path]] = {}  # picture -> its masks after the first
    for path in sorted(p for kind in kinds for p in (source / kind).iterdir() if p.suffix.lower() == ".png"):
        stem, is_mask, number = path.stem.partition(MASK)
        masks = further.setdefault(path.with_name(f"{stem}{path.suffix}"), [])
        if is_mask and number:
            masks.append(path)
    found = []
    for picture, more in further.items():
        first = picture.with_name(f"{picture.stem}{MASK}{picture.suffix}")
        case = picture.stem.replace(" (", "_").replace(")", "")
        found.append(Pair(case, picture, (first, *([] if first_mask_only else more)), above(127), other_size))
    return found
