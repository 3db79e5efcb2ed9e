"""The progress bar of all sub-commands: silent with --quiet, and where standard error is no terminal."""

import sys
from collections.abc import Iterable
from typing import Any

quiet = False
"""Set by the command, from its --quiet."""


def shown() -> bool:
    """Whether a bar is drawn, for what draws its own: nothing is drawn into a file or a pipe."""
    return not quiet and sys.stderr.isatty()


def progress_bar(iterable: Iterable[Any] | None = None, *, disable: bool = False, **settings: Any) -> Any:
    """tqdm with its settings."""
    from tqdm import tqdm

    return tqdm(iterable, disable=disable or not shown(), **settings)
