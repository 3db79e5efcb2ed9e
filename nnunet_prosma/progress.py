"""The progress bar of all sub-commands: silent with --quiet, and where standard error is no terminal."""

from collections.abc import Iterable
from typing import Any

quiet = False
"""Set by the command, from its --quiet."""


def progress_bar(iterable: Iterable[Any] | None = None, *, disable: bool = False, **settings: Any) -> Any:
    """tqdm with its settings; nothing is drawn into a file or a pipe."""
    from tqdm import tqdm

    return tqdm(iterable, disable=True if quiet or disable else None, **settings)
