"""The device that a command works on, chosen once; the option -device is in arguments.py."""

from nnunet_prosma.errors import InputError


def choose_device(name: str | None) -> str:
    """What -device says, if torch can use it here; else cuda if there is one, and cpu if not.

    mps is never chosen unasked: which 3D convolutions it knows depends on its version.
    """
    import torch

    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name is None:
        return "cuda" if available["cuda"] else "cpu"
    if not available[name]:
        raise InputError(
            f"-device {name} needs a device that torch {torch.__version__} can use, and there is none here: say "
            f"-device cpu, or see nnunet-prosma doctor"
        )
    return name
