"""Tables for a paper, with booktabs and graphicx."""

from collections.abc import Sequence

SPECIAL = {
    "\\": r"\textbackslash{}",
    "−": "$-$",
    "±": r"$\pm$",
    "–": "--",
    "<": "$<$",
    ">": "$>$",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}
FITTED = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"


def latex(text: str) -> str:
    """Plain text in which nothing is a command."""
    return "".join(SPECIAL.get(character, character) for character in text)


def booktabs(header: Sequence[str], groups: Sequence[tuple[str, Sequence[Sequence[str]]]], caption: str) -> str:
    """A table float; each group of rows stands under its title. A table wider than the line is made smaller. All is
    plain text.
    """
    lines = [
        r"\begin{table}",
        rf"\caption{{{latex(caption)}}}",
        r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
        FITTED,
        rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
        r"\toprule",
        " & ".join(map(latex, header)) + r" \\",
    ]
    for title, rows in groups:
        lines += [r"\midrule", rf"\multicolumn{{{len(header)}}}{{l}}{{{latex(title)}}} \\"]
        lines += [" & ".join(map(latex, row)) + r" \\" for row in rows]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}}", r"\end{table}", ""])
