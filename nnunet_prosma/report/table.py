"""A table of a page: the first column names the row, a click on a heading sorts, and narrow windows scroll it."""

import re
from collections.abc import Sequence
from html import escape

NO_BREAK = "\N{NO-BREAK SPACE}"

SHORT = 25
"""Rows up to which a printed table is not cut."""


def html_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """All cells are plain text."""
    head = "".join(f'<th scope="col"><button type="button">{escape(cell)}</button></th>' for cell in header)
    lines = "".join(
        f'<tr><th scope="row">{_name(first)}</th>{"".join(map(_cell, others))}</tr>' for first, *others in rows
    )
    short = " short" if len(rows) <= SHORT else ""
    return (
        f'<div class="scroll" tabindex="0"><table class="sortable{short}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )


def _name(text: str) -> str:
    """A name may be broken where a word begins: after an underscore, and before a capital letter."""
    return "<wbr>".join(map(escape, re.split(r"(?<=_)|(?<=[a-z0-9])(?=[A-Z])", text)))


def _cell(text: str) -> str:
    return f"<td>{escape(together(minus(text)))}</td>"


def together(text: str) -> str:
    """An interval, a mean with its SD, counts and "< 0.001" are broken in no line."""
    text = re.sub(r"\[[^\]]*\]", lambda found: found[0].replace(" ", NO_BREAK), text)
    text = re.sub(r"(?<=\d) / (?=\d)", f"{NO_BREAK}/{NO_BREAK}", text)
    return re.sub(r" ?([±<>]) ", rf"{NO_BREAK}\1{NO_BREAK}", text).removeprefix(NO_BREAK)


def minus(text: str) -> str:
    """A hyphen before a number, where nothing stands before it, is a minus sign."""
    return re.sub(r"(?<![\w.)-])-(?=\.?\d)", "−", text)


def set_sentence(text: str) -> str:
    """With minus signs, and no line that begins with a per cent sign."""
    return re.sub(r"(?<=\d) %", f"{NO_BREAK}%", minus(text))
