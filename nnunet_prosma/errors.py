"""What a user can mend, and what the system refused, as a sentence."""

import shutil


class InputError(ValueError):
    """What a user gave cannot be used: one sentence of what must hold, what arrived and how to mend it.

    The command prints it and exits with status 2, without a traceback.
    """


class IncompleteError(InputError):
    """What was asked for is made, but without what cannot be read."""


def of_system(error: OSError) -> str:
    """What the operating system refused: a full disk, a missing permission, a name that is too long."""
    if isinstance(error, shutil.Error) and error.args and isinstance(error.args[0], list):  # of a folder's copy
        failed = [str(why) for _, _, why in error.args[0]]
        return f"a folder cannot be copied: {failed[0]}" + (f" (and {len(failed) - 1} more)" if failed[1:] else "")
    files = [str(file) for file in (error.filename, error.filename2) if file is not None]
    about = error.strerror or " ".join(str(error).split()) or type(error).__name__
    return f"{' and '.join(files)} cannot be read or written: {about}" if files else f"the system refused: {about}"
