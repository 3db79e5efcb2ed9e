"""Tiny data sets in nnU-Net's raw format: noise with a ball (label 1) and a brighter core in it (label 2)."""

import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813


def case(seed: int, size: tuple[int, ...], channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Images (channels, *size) and labels (*size)."""
    rng = np.random.default_rng(seed)
    centre = [rng.uniform(0.35, 0.65) * n for n in size]
    grid = np.meshgrid(*(np.arange(n) for n in size), indexing="ij")
    distance = np.sqrt(sum(((g - c) / n) ** 2 for g, c, n in zip(grid, centre, size, strict=True)))
    labels = (distance < 0.3).astype(np.uint8) + (distance < 0.16)
    return labels + 0.3 * rng.standard_normal((channels, *size)).astype(np.float32), labels


def write_dataset(
    raw: Path,
    name: str,
    *,
    cases: int = 5,
    size: tuple[int, ...] = (16, 24, 24),
    spacing: tuple[float, ...] = (1.0, 1.0, 1.0),
    channels: int = 1,
    labels: dict | None = None,
    ignore_share: float = 0.0,
    **dataset_json: object,
) -> Path:
    """The folder of a new data set; the last two cases are in imagesTs as well. Spacing and size go z, y, x."""
    folder = raw / name
    for part in ("imagesTr", "labelsTr", "imagesTs"):
        (folder / part).mkdir(parents=True)
    for number in range(cases):
        images, mask = case(number, size, channels)
        if ignore_share:
            mask[np.random.default_rng(number).random(size) < ignore_share] = 3
        for channel, image in enumerate(images):
            for part in ["imagesTr"] + ["imagesTs"] * (number >= cases - 2):
                _write(image, spacing, folder / part / f"case_{number:03}_{channel:04}.nii.gz")
        _write(mask, spacing, folder / "labelsTr" / f"case_{number:03}.nii.gz")
    description = {
        "channel_names": {str(channel): "MRI" for channel in range(channels)},
        "labels": labels or {"background": 0, "ball": 1, "core": 2},
        "numTraining": cases,
        "file_ending": ".nii.gz",
        **dataset_json,
    }
    (folder / "dataset.json").write_text(json.dumps(description))
    return folder


def _write(array: np.ndarray, spacing: tuple[float, ...], path: Path) -> None:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing[::-1])
    sitk.WriteImage(image, str(path))
