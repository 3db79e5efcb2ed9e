"""report.md: the report for a repository or a pull request, its plots beside it as PNG."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_prosma.compare.analysis import Analysis
from nnunet_prosma.compare.content import how_slices, sections, title
from nnunet_prosma.compare.extremes import Picture
from nnunet_prosma.compare.section import Section, Table
from nnunet_prosma.compare.verdict import caveat
from nnunet_prosma.files import write_text
from nnunet_prosma.report.table import minus

if TYPE_CHECKING:
    from nnunet_prosma.report.drawing import Drawn


def write_markdown(analysis: Analysis, plots: "Sequence[Drawn]", pictures: Sequence[Picture], output: Path) -> None:
    lines = [f"# {_text(title(analysis))}", ""]
    texts = {mark.text for mark in analysis.badges.values()}
    for run, mark in list(analysis.badges.items())[: 1 if len(texts) == 1 else None]:
        of = f"{run}: " if len(texts) > 1 else ""
        lines += [f"**{_text(of + mark.text)}.**", ""]
    lines += [f"**{_text(minus(verdict.sentence))}**\n" for verdict in analysis.verdicts.values()]
    lines += [caveat(analysis.verdicts.values()), ""]
    for section in sections(analysis):
        lines += _section(section, plots)
    lines += ["## Largest regressions and gains", ""] if pictures else []
    lines += [how_slices(analysis), ""] if any(picture.png for picture in pictures) else []
    for picture in pictures:
        lines += [f"### {_text(picture.title)}", "", _text(minus(picture.about)), ""]
        lines += [f"![{_text(picture.title)}](figures/{picture.name}.png)", ""] if picture.png else []
    write_text(output / "report.md", "\n".join(lines))


def _section(section: Section, plots: "Sequence[Drawn]") -> list[str]:
    lines = [f"## {section.title}", ""]
    for finding in section.findings:
        mark = f"**compared only because of --allow {finding.kind}:** " if finding.allowed else ""
        lines.append(f"- {mark}{_text(finding.sentence)}")
        if finding.lines:
            lines += ["", "  ```diff", *(f"  {line}" for line in finding.lines), "  ```", ""]
    lines += [""] if section.findings else []
    for paragraph in section.paragraphs:
        lines += [_text(paragraph), ""]
    for table in section.tables:
        lines += _table(table)
    for plot in plots:
        if plot.group in section.plots and not plot.more:
            lines += [f"![{_text(plot.about)}](figures/{plot.name}.png)", ""]
    return lines


def _table(table: Table) -> list[str]:
    cells = [(first, *map(minus, others)) for first, *others in table.rows]
    rows = [table.header, ("---",) * len(table.header), *cells]
    return [f"### {_text(table.title)}", "", *("| " + " | ".join(map(_text, row)) + " |" for row in rows), ""]


def _text(text: str) -> str:
    for character in "\\|*_<>":
        text = text.replace(character, "\\" + character)
    return text
