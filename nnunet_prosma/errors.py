class InputError(ValueError):
    """What a user gave cannot be used: one sentence of what must hold, what arrived and how to mend it.

    The command prints it and exits with status 2, without a traceback.
    """
