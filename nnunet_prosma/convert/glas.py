"""GlaS (Warwick-QU): colon histology, train_1.bmp with train_1_anno.bmp, where 0 is background and each gland a number.

All three parts (train, testA, testB) are taken together, as U-KAN splits them anew.
"""

from pathlib import Path

from nnunet_prosma.convert.pairs import Pair, above

ANNOTATION = "_anno"


def pairs(source: Path) -> list[Pair]:
    files = sorted(p for p in source.iterdir() if p.suffix.lower() == ".bmp")
    pictures = dict.fromkeys(p.with_name(f"{p.stem.removesuffix(ANNOTATION)}{p.suffix}") for p in files)
    return [Pair(p.stem, p, (p.with_name(f"{p.stem}{ANNOTATION}{p.suffix}"),), above(0)) for p in pictures]
