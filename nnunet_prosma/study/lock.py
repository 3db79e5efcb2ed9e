"""One study at a time in a folder, also while a training outlives the study that started it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nnunet_prosma.errors import InputError


@contextmanager
def sole(folder: Path) -> Iterator[int | None]:
    """A file descriptor for the trainings to inherit: whoever has it open holds the folder. None where none can be."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield None
        return
    path = folder / ".lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(
                f"a study, or a training that one started, is still at work in {folder}; wait for it, end it, or give "
                f"another folder with -o and other trainers"
            ) from None
        yield descriptor
    finally:
        os.close(descriptor)
