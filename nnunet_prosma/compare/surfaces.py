"""Normalised surface distance and 95 % Hausdorff distance of one label, by Google DeepMind's surface-distance."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import surface_distance


def surface_metrics(
    truth: np.ndarray, prediction: np.ndarray, spacing: Sequence[float], tolerance: float
) -> tuple[float, float]:
    """(NSD, HD95) of boolean masks (2D or 3D); spacing and tolerance in mm, or in pixels. Area-weighted.

    Both empty: NaN, NaN. Only the truth empty: NaN, inf. Only the prediction empty: 0, inf. See empty.py.
    """
    if not truth.any():
        return float("nan"), float("inf" if prediction.any() else "nan")
    if not prediction.any():
        return 0.0, float("inf")
    with scipys_old_names():
        distances = surface_distance.compute_surface_distances(truth, prediction, list(spacing))
    nsd = surface_distance.compute_surface_dice_at_tolerance(distances, tolerance)
    return float(nsd), float(surface_distance.compute_robust_hausdorff(distances, 95))


def diagonal(shape: Sequence[int], spacing: Sequence[float]) -> float:
    """The distance from corner to corner of the image: no distance in it is larger, so it can stand for that of a
    missed label."""
    return float(np.linalg.norm(np.multiply(shape, spacing)))


@contextmanager
def scipys_old_names() -> Iterator[None]:
    """surface-distance 0.1 calls scipy.ndimage by names that scipy keeps until 2.0; setup.cfg asks for scipy < 2."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Please import `.*` from the `scipy.ndimage`", DeprecationWarning)
        yield


def drop_flat_axis(array: np.ndarray, spacing: Sequence[float]) -> tuple[np.ndarray, list[float]]:
    """nnU-Net reads a 2D image as one slice with a made-up spacing: its contour is measured in the plane."""
    if array.ndim == 3 and array.shape[0] == 1:
        return array[0], list(spacing[1:])
    return array, list(spacing)
