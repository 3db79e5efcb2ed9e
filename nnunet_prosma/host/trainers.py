"""nnU-Net's trainers by name, as its commands find them."""

import contextlib
import io
import warnings
from typing import TYPE_CHECKING

from nnunet_prosma.errors import InputError

STOCK = "nnUNetTrainer"
"""nnU-Net's own trainer."""

if TYPE_CHECKING:
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


def search(name: str) -> "type[nnUNetTrainer]":
    """nnU-Net's search, quietly; what stops it is raised as it is."""
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found: type[nnUNetTrainer] = recursive_find_trainer_class_by_name(name)
    return found


def find_trainer(name: str) -> "type[nnUNetTrainer]":
    """The class that -tr NAME names; one that nnU-Net does not find is an InputError."""
    try:
        return search(name)
    except RuntimeError:
        raise InputError(
            f"nnU-Net finds no trainer {name!r}: see nnunet-prosma doctor, or put its folder into nnUNet_extTrainer"
        ) from None
    except Exception as error:  # any module in a folder of nnUNet_extTrainer can fail in any way
        raise InputError(
            f"nnU-Net's search for the trainer {name!r} failed ({type(error).__name__}: "
            f"{' '.join(str(error).split())}): see nnunet-prosma doctor"
        ) from None
