"""Processes that work off tasks, one of which the system may kill."""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context

from nnunet_prosma.errors import InputError


@contextmanager
def pool(count: int, kept: str = "") -> Iterator[ProcessPoolExecutor]:
    """So many processes, which begin anew. What has not begun when the block is left is given up.

    A worker that is killed ends the block with an InputError; multiprocessing.Pool would wait for it for ever. kept:
    what of the work is not lost by that, said after it.
    """
    executor = ProcessPoolExecutor(count, get_context("spawn"))
    try:
        yield executor
    except BrokenProcessPool:
        raise InputError(f"a worker was killed, most likely for want of memory: use a smaller -np{kept}") from None
    finally:
        executor.shutdown(cancel_futures=True)
