"""How a plot is drawn and kept: one figure, saved as SVG and PNG, and as SVG inside a page in the page's colours."""

import io
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from nnunet_prosma.files import write_bytes, write_text

INK, MUTED, PAPER = "#1b1b1e", "#63636b", "#fffffe"
"""Colours of a plot. In a page they become its own colours, so that a plot is light or dark with it."""
WIDTH = 4.3
STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 8.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "figure.facecolor": PAPER,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.formatter.useoffset": False,
    "axes.spines.right": False,
    "text.parse_math": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "nnunet-prosma",
}


@dataclass(frozen=True)
class Plot:
    """about: what a reader who does not see it must know. more: shown on request only, as one of many."""

    name: str
    title: str
    about: str
    figure: Figure
    group: str
    more: bool


@dataclass(frozen=True)
class Drawn:
    name: str
    title: str
    about: str
    group: str
    more: bool
    svg: str


def figure(height: float) -> Figure:
    return Figure(figsize=(WIDTH, height), layout="constrained")


def draw(plots: Iterable[Plot], folder: Path) -> list[Drawn]:
    """Saves each plot as NAME.svg and NAME.png, one after the other, so that only one is held in memory."""
    drawn = []
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # a PNG shows a box, the SVG the letter
        for plot in plots:
            svg = io.StringIO()
            plot.figure.savefig(svg, format="svg", dpi=150, metadata={"Date": None, "Creator": None})
            plot.figure.set_layout_engine("none")  # as laid out, for the second time
            png = io.BytesIO()
            plot.figure.savefig(png, format="png", dpi=160)
            write_text(folder / f"{plot.name}.svg", svg.getvalue())
            write_bytes(folder / f"{plot.name}.png", png.getvalue())
            inline = for_page(svg.getvalue(), plot.name)
            drawn.append(Drawn(plot.name, plot.title, plot.about, plot.group, plot.more, inline))
    return drawn


def for_page(svg: str, name: str) -> str:
    """The svg element alone, in the page's colours, its ids made unique among the plots of a page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    for colour, variable in ((INK, "--ink"), (MUTED, "--muted"), (PAPER, "--paper")):
        svg = svg.replace(colour, f"var({variable})")
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'href="#', f'href="#{name}-', svg)
    svg = re.sub(r"url\(#", f"url(#{name}-", svg)
    svg = re.sub(r' width="[\d.]+pt" height="[\d.]+pt"', "", svg, count=1)
    return svg.strip()


def shorten(text: str, length: int = 20) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
