class InputError(ValueError):
    """What a user gave cannot be used: one sentence of what must hold, what arrived and how to mend it.

    The command prints it and exits with status 2, without a traceback.
    """


class IncompleteError(InputError):
    """What was asked for is made, but without what cannot be read."""
