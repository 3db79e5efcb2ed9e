"""What a user can mend, and what the system refused, as a sentence."""

import shutil
from collections.abc import Sequence


class InputError(ValueError):
    """What a user gave cannot be used: one sentence of what must hold, what arrived and how to mend it.

    The command prints it and exits with status 2, without a traceback.
    """


class IncompleteError(InputError):
    """What was asked for is made, but without what cannot be read."""


def first_of(names: Sequence[str], shown: int = 1) -> str:
    """The first of these names, and how many more there are: not more than a reader wants."""
    rest = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + rest


def of_system(error: OSError) -> str:
    """What the operating system refused: a full disk, a missing permission, a name that is too long."""
    if isinstance(error, shutil.Error) and error.args and isinstance(error.args[0], list):  # of a folder's copy
        failed = [str(why) for _, _, why in error.args[0]]
        return f"a folder cannot be copied: {first_of(failed)}"
    files = [str(file) for file in (error.filename, error.filename2) if file is not None]
    about = error.strerror or " ".join(str(error).split()) or type(error).__name__
    return f"{' and '.join(files)} cannot be read or written: {about}" if files else f"the system refused: {about}"
