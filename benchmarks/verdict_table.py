"""The tables of the verdict's simulations: a row for each name and size, a column for each number of runs."""

import time
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from pathlib import Path

import marked

CASES = (10, 30, 100)
RUNS = (2, 3, 4, 5)
Cell = Callable[[str, int, int], str]
"""(name, size, column) -> what stands there."""


def table(
    what: str,
    names: Iterable[str],
    cell: Cell,
    size: str = "cases",
    sizes: Iterable[int] = CASES,
    columns: dict[int, str] | None = None,
) -> Iterator[str]:
    columns = columns or {runs: f"{runs} runs" for runs in RUNS}
    yield f"| {what} | {size} | {' | '.join(columns.values())} |"
    yield "| --- | --- |" + " --- |" * len(columns)
    for name in names:
        for number in sizes:
            yield f"| {name} | {number} | {' | '.join(cell(name, number, column) for column in columns)} |"


def percent(*shares: float) -> str:
    return " / ".join(f"{100 * share:.1f}" for share in shares)


def versions() -> str:
    return ", ".join(f"{name} {version(name)}" for name in ("nnunet-prosma", "numpy", "scipy"))


def show(lines: Iterable[str], script: str, document: Path | None) -> None:
    """Print the lines as they come, and put them into the document where the script's mark is."""
    started, shown = time.process_time(), []
    for line in lines:
        print(line, flush=True)
        shown.append(line)
    print(f"{time.process_time() - started:.0f} CPU seconds")
    if document:
        marked.replace(document, script, "\n".join(shown))
