"""Preprocessed data, and what trainings that start together would race to make: the splits, and the data unpacked."""

import contextlib
import functools
import io
import tempfile
from pathlib import Path

import numpy as np

from nnunet_prosma.errors import InputError
from nnunet_prosma.host.stand_ins import TrainerThatSplits


@functools.cache
def own_splits(data: Path) -> str:
    """The splits_final.json that nnU-Net's own method makes of this preprocessed data; it writes to another place."""
    from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    with tempfile.TemporaryDirectory() as folder:
        trainer = TrainerThatSplits(infer_dataset_class(str(data)), str(data), folder)
        try:
            nnUNetTrainer.do_split(trainer)
        except ValueError as error:
            raise InputError(f"nnU-Net cannot split {data} into five folds: {error}") from None
        return (Path(folder) / "splits_final.json").read_text()


def unpack(folder: Path) -> None:
    """Unpacks by nnU-Net's own function; nothing to do for data in its newer format."""
    from nnunetv2.configuration import default_num_processes
    from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class

    with contextlib.redirect_stdout(io.StringIO()):
        infer_dataset_class(str(folder)).unpack_dataset(
            str(folder), overwrite_existing=False, num_processes=default_num_processes, verify=True
        )


def preprocessed_case(folder: Path, name: str) -> np.ndarray:
    """(channels, *size), of data in nnU-Net's newer format."""
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2

    return np.asarray(nnUNetDatasetBlosc2(str(folder), [name]).load_case(name)[0][:])
