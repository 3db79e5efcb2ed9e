"""report.html: one file without anything from outside, readable on a phone, light and dark."""

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_prosma.compare.analysis import Analysis
from nnunet_prosma.compare.content import sections, title
from nnunet_prosma.compare.extremes import Picture
from nnunet_prosma.compare.fairness import Finding
from nnunet_prosma.compare.section import Section, Table
from nnunet_prosma.compare.verdict import CAVEAT
from nnunet_prosma.files import write_text
from nnunet_prosma.report.page import page

if TYPE_CHECKING:
    from nnunet_prosma.report.drawing import Drawn


def write_html(analysis: Analysis, plots: "Sequence[Drawn]", pictures: Sequence[Picture], output: Path) -> None:
    parts = list(sections(analysis))
    body = [_section(parts[0], plots)]
    body += [f'<p class="verdict">{escape(verdict.sentence)}</p>' for verdict in analysis.verdicts.values()]
    body.append(f'<p class="caveat">{escape(CAVEAT)}</p>')
    body += [_section(part, plots) for part in parts[1:-1]]
    if pictures:
        body.append(_pictures(pictures))
    body.append(_section(parts[-1], plots))
    footer = "All numbers: cases.csv and summary.json beside this page."
    write_text(output / "report.html", page(title(analysis), "\n".join(body), footer))


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
    mark = "<strong>allowed on request</strong> " if finding.allowed else ""
    diff = ""
    if finding.lines:
        lines = "\n".join(escape(line) for line in finding.lines)
        diff = f"<details><summary>{len(finding.lines)} lines</summary><pre>{lines}</pre></details>"
    return f"<li>{mark}{escape(finding.sentence)}{diff}</li>"


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in table.header)
    rows = "".join(
        f'<tr><th scope="row">{escape(first)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in cells)}</tr>'
        for first, *cells in table.rows
    )
    whole = f'<div class="scroll" tabindex="0"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
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


def _pictures(pictures: Sequence[Picture]) -> str:
    grid = f'<div class="plots">{"".join(map(_picture, pictures))}</div>'
    return f"<section><h2>Largest regressions and gains</h2>{grid}</section>"


def _picture(picture: Picture) -> str:
    image = ""
    if picture.png:
        source = base64.b64encode(picture.png).decode()
        image = f'<img src="data:image/png;base64,{source}" alt="{escape(picture.about)}">'
    return f"<figure><h3>{escape(picture.title)}</h3>{image}<figcaption>{escape(picture.about)}</figcaption></figure>"
