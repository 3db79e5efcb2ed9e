"""nnunet-prosma inspect called on models of hand_built, and what it wrote read again."""

import csv
from math import exp

import numpy as np
import SimpleITK as sitk  # noqa: N813
from hand_built import plans, write_image, write_model
from skimage.io import imsave

from nnunet_prosma import command

OPEN, CLOSED = 1 / (1 + exp(-10)), 1 / (1 + exp(10))
TURNED = tuple(np.round([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]], 6).ravel())
ODD = {"spacing": (0.7, 1.1, 2.3), "origin": (-12.5, 30.0, 7.25), "direction": TURNED}


def inspect(model, images, out, *options, status=0):
    named = ("-m", model, "-f", "0", "-i", images, "-o", out, "-device", "cpu", "--disable_progress_bar")
    assert command.main(["inspect", *map(str, (*named, *options))]) == status


def table(out):
    with (out / "gates.csv").open() as file:
        return list(csv.DictReader(file))


def read(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def write_images(folder, rng, size, channels=1, cases=2, ending=".nii.gz"):
    folder.mkdir()
    for number in range(cases):
        for channel in range(channels):
            path = folder / f"case{number}_{channel:04}{ending}"
            if ending == ".png":
                imsave(path, rng.integers(0, 255, size, dtype=np.uint8), check_contrast=False)
            else:
                write_image(path, rng.standard_normal(size).astype(np.float32), **ODD)


def cascade(folder, rng):
    write_images(folder / "images", rng, (11, 20, 17))
    (folder / "before").mkdir()
    for number in range(2):
        write_image(folder / "before" / f"case{number}.nii.gz", rng.integers(0, 2, (11, 20, 17), np.uint8), **ODD)
    planned = plans(3, [8, 8, 8], norm=True, previous_stage="3d_lowres")
    model = write_model(folder / "results", planned, by_hand=False)
    return model, ["-c", "3d_fullres", "-prev_stage_predictions", str(folder / "before")]
