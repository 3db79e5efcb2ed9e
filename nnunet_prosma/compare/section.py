"""A section of the report, however it is set."""

from dataclasses import dataclass, field

from nnunet_prosma.compare.fairness import Finding

LONG = 12
"""Rows from which on a table is shown on request."""


@dataclass(frozen=True)
class Table:
    """The first column names the row. folded: long, so shown on request."""

    title: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]
    folded: bool = False


@dataclass(frozen=True)
class Section:
    """plots: groups of plots that belong here."""

    title: str
    paragraphs: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    plots: tuple[str, ...] = ()
