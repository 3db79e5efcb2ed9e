"""Where a patient's left, back and head are in an array that one of nnU-Net's readers read."""

from collections.abc import Mapping
from typing import Any

import numpy as np


def directions(properties: Mapping[str, Any]) -> np.ndarray | None:
    """(3, 3): row a is the unit vector along the array's axis a, as (left, posterior, superior).

    Of what nnU-Net's readers keep; None where a file says nothing of it (flat images, PNG, TIFF).
    """
    if kept := properties.get("sitk_stuff"):
        matrix = np.asarray(kept["direction"], dtype=float)
        if matrix.size not in (9, 16):
            return None
        side = round(matrix.size**0.5)
        columns = matrix.reshape(side, side)[:3, :3]
    elif kept := properties.get("nibabel_stuff"):
        columns = np.diag([-1, -1, 1]) @ np.asarray(kept.get("reoriented_affine", kept["original_affine"]))[:3, :3]
    else:
        return None
    lengths = np.linalg.norm(columns, axis=0)
    if not np.all(lengths > 0):
        return None
    return (columns / lengths).T[::-1]
