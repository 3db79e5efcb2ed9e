"""table.tex: the paired statistics for a paper, a table for each run."""

from nnunet_prosma.compare import unmeasured
from nnunet_prosma.compare.analysis import Analysis
from nnunet_prosma.compare.results import cells
from nnunet_prosma.report.latex import booktabs
from nnunet_prosma.report.table import minus

SHOWN = ("cases", "baseline mean ± SD", "mean ± SD", "mean difference", "p (corrected)")
ROWS = 45
"""Rows that fit on a page; with more, each metric has a table of its own."""
HEADER = ("label", "cases", "baseline", "this run", "mean difference [interval]", "p (corrected)")


def table_tex(analysis: Analysis) -> str:
    parts = ["% Needs \\usepackage{booktabs,graphicx}. Made by nnunet-prosma compare.\n"]
    baseline = analysis.table.runs[0]
    for candidate in analysis.table.runs[1:]:
        groups = []
        for metric in analysis.table.metrics:
            rows = [r for r in analysis.rows if r.metric is metric and r.candidate == candidate]
            unit = f" [{metric.unit}]" if metric.unit else ""
            lines = [(row.label, *(minus(cells(row)[name]) for name in SHOWN)) for row in rows]
            groups.append((f"{metric.title}{unit}, {'larger' if metric.better > 0 else 'smaller'} is better", lines))
        caption = f"{candidate} against {baseline}: mean ± SD over cases, paired differences with their intervals."
        caption = f"{caption} {unmeasured.sentence(analysis.loaded)}".strip()
        whole = sum(len(lines) for _, lines in groups) <= ROWS
        parts += [booktabs(HEADER, some, caption) for some in ([groups] if whole else [[group] for group in groups])]
    return "\n".join(parts)
