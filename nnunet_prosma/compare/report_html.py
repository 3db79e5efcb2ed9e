"""report.html: one file without anything from outside, readable on a phone, light and dark."""

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_prosma.compare.analysis import Analysis
from nnunet_prosma.compare.content import how_slices, sections, title
from nnunet_prosma.compare.extremes import Picture
from nnunet_prosma.compare.fairness import Finding
from nnunet_prosma.compare.section import Section, Table
from nnunet_prosma.compare.verdict import caveat
from nnunet_prosma.files import write_text
from nnunet_prosma.report.page import page
from nnunet_prosma.report.table import html_table, minus, set_sentence

if TYPE_CHECKING:
    from nnunet_prosma.report.drawing import Drawn


def write_html(analysis: Analysis, plots: "Sequence[Drawn]", pictures: Sequence[Picture], output: Path) -> None:
    """The verdict first, then whether the comparison is fair, then all else."""
    parts = list(sections(analysis))
    body = [_verdict(analysis), *(_section(part, plots) for part in parts[:-1])]
    if pictures:
        body.append(_pictures(pictures, how_slices(analysis)))
    body.append(_section(parts[-1], plots))
    footer = "All numbers: cases.csv, summary.json and table.tex beside this page."
    write_text(output / "report.html", page(title(analysis), "\n".join(body), footer))


def _verdict(analysis: Analysis) -> str:
    """One badge where it is the same for every run, else each verdict has its own."""
    parts, last = [], None
    for run, verdict in analysis.verdicts.items():
        mark = analysis.badges[run]
        if mark != last:
            of = f"{run}: " if len(set(analysis.badges.values())) > 1 else ""
            parts.append(f'<p><span class="badge {mark.kind}">{escape(of + mark.text)}</span></p>')
        parts.append(f'<p class="sentence">{escape(set_sentence(verdict.sentence))}</p>')
        last = mark if len(set(analysis.badges.values())) == 1 else None
    return (
        f'<div class="verdict">{"".join(parts)}<p class="caveat">{escape(caveat(analysis.verdicts.values()))}</p></div>'
    )


def _section(section: Section, plots: "Sequence[Drawn]") -> str:
    parts = [f"<h2>{escape(section.title)}</h2>"]
    if section.findings:
        parts.append("<ul>" + "".join(map(_finding, section.findings)) + "</ul>")
    parts += [f"<p>{escape(paragraph)}</p>" for paragraph in section.paragraphs]
    parts += [_table(table) for table in section.tables]
    shown = [plot for group in section.plots for plot in plots if plot.group == group]
    parts.append(_plots([plot for plot in shown if not plot.more]))
    if rest := [plot for plot in shown if plot.more]:
        parts.append(f"<details><summary>{len(rest)} more plots of other labels</summary>{_plots(rest)}</details>")
    return "<section>" + "\n".join(parts) + "</section>"


def _finding(finding: Finding) -> str:
    mark = f"<strong>compared only because of --allow {escape(finding.kind)}:</strong> " if finding.allowed else ""
    diff = ""
    if finding.lines:
        lines = "\n".join(escape(line) for line in finding.lines)
        diff = f"<details><summary>{len(finding.lines)} lines</summary><pre>{lines}</pre></details>"
    return f"<li>{mark}{escape(finding.sentence)}{diff}</li>"


def _table(table: Table) -> str:
    whole = html_table(table.header, table.rows)
    if table.folded:
        return f"<details><summary>{escape(table.title)}</summary>{whole}</details>"
    return f"<h3>{escape(table.title)}</h3>{whole}"


def _plots(plots: "Sequence[Drawn]") -> str:
    figures = (
        f'<figure role="img" aria-label="{escape(plot.about)}">{plot.svg}'
        f"<figcaption><b>{escape(plot.title)}.</b> {escape(plot.about)}</figcaption></figure>"
        for plot in plots
    )
    return f'<div class="plots">{"".join(figures)}</div>' if plots else ""


def _pictures(pictures: Sequence[Picture], how_drawn: str) -> str:
    grid = f'<div class="plots">{"".join(map(_picture, pictures))}</div>'
    how = f"<p>{escape(how_drawn)}</p>" if any(picture.png for picture in pictures) else ""
    return f"<section><h2>Largest regressions and gains</h2>{how}{grid}</section>"


def _picture(picture: Picture) -> str:
    image = ""
    if picture.png:
        source = base64.b64encode(picture.png).decode()
        image = f'<img src="data:image/png;base64,{source}" alt="{escape(picture.about)}">'
    caption = f"<figcaption>{escape(minus(picture.about))}</figcaption>"
    return f"<figure><h3>{escape(picture.title)}</h3>{image}{caption}</figure>"
