"""Draws where the gates sit in nnU-Net's network: network-light.svg and network-dark.svg, beside this file."""

from pathlib import Path

STAGES = 4
COLOURS = {
    "light": {"ink": "#1f2328", "line": "#59636e", "box": "#eef1f4", "gate": "#0a7d4f", "signal": "#b35900"},
    "dark": {"ink": "#f0f6fc", "line": "#9198a1", "box": "#21262d", "gate": "#3fce8c", "signal": "#f0a35e"},
}
WIDTH, HEIGHT, STEP, TOP = 760, 400, 84, 40
BOX = 26
LEGEND = (
    "x: the encoder's features.  g: the decoder's, after the transposed convolution.",
    "psi, from x and g: where.  c, from g: which channels.  All else is nnU-Net's own.",
)


def draw(theme: str) -> str:
    c = COLOURS[theme]
    parts = [text(120, 18, "encoder", c["ink"]), text(640, 18, "decoder", c["ink"])]
    parts += [text(380, 18, "skips, each with a ProSMA gate", c["gate"], "bold")]
    parts += [arrow(30, TOP + BOX / 2, 56, TOP + BOX / 2, c["line"]), text(42, TOP - 2, "image", c["ink"])]
    for stage in range(STAGES):
        y, width = TOP + STEP * stage, 120 - 22 * stage
        left, right = 60 + 26 * stage, WIDTH - 60 - 26 * stage
        middle = y + BOX / 2
        if stage == STAGES - 1:  # the bottleneck joins both sides
            parts.append(box(left, y, right - left, c))
            parts.append(text(WIDTH / 2, y + 17, "coarsest stage", c["ink"]))
        else:
            parts += [box(left, y, width, c), box(right - width, y, width, c)]
            parts.append(arrow(left + width, middle, 336, middle, c["line"]))
            parts.append(text((left + width + 340) / 2, middle - 6, "x", c["ink"], "italic"))
            parts.append(gate(380, middle, c))
            parts.append(arrow(424, middle, right - width - 3, middle, c["gate"]))
            parts.append(text((424 + right - width) / 2, middle - 6, "x · c · psi", c["ink"], "italic"))
        if stage:
            down = 60 + 26 * stage + 14
            parts.append(arrow(down, y - STEP + BOX, down, y - 3, c["line"]))
            up = WIDTH - 60 - 26 * stage - 14
            parts.append(arrow(up, y, up, y - STEP + BOX + 3, c["line"]))
            parts.append(signal(up, y - STEP / 2 + 24, y - STEP + BOX, c))
    parts.append(arrow(WIDTH - 58, TOP + BOX / 2, WIDTH - 26, TOP + BOX / 2, c["line"]))
    parts.append(text(WIDTH - 36, TOP - 2, "classes", c["ink"]))
    y = TOP + STEP * STAGES
    for line, words in enumerate(LEGEND):
        parts.append(text(WIDTH / 2, y + 19 * line, words, c["ink"]))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT + 8}" width="{WIDTH}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="13"><title>A U-Net with a gate on each skip</title>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def text(x: float, y: float, words: str, colour: str, style: str = "") -> str:
    look = {"bold": ' font-weight="600"', "italic": ' font-style="italic"'}.get(style, "")
    return f'<text x="{x:g}" y="{y:g}" fill="{colour}" text-anchor="middle"{look}>{words}</text>'


def box(x: float, y: float, width: float, c: dict[str, str]) -> str:
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{BOX}" rx="4" fill="{c["box"]}" stroke="{c["line"]}"/>'


def gate(x: float, y: float, c: dict[str, str]) -> str:
    shape = f'<rect x="{x - 41:g}" y="{y - 17:g}" width="82" height="34" rx="17" fill="none" stroke="{c["gate"]}"'
    return f'{shape} stroke-width="2"/>' + text(x, y + 5, "gate", c["gate"], "bold")


def signal(x: float, y: float, stage_y: float, c: dict[str, str]) -> str:
    """The decoder's features on their way into the gate of the stage above."""
    path = f'<path d="M{x:g} {y - 12:g} L380 {y - 12:g} L380 {stage_y + 8:g}" fill="none" stroke="{c["signal"]}"'
    tip = stage_y + 8
    head = f'<path d="M380 {tip - 4:g} l-4 8 h8 z" fill="{c["signal"]}"/>'
    return f'{path} stroke-dasharray="4 3"/>{head}' + text(470, y - 17, "g", c["signal"], "italic")


def arrow(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    line = f'<path d="M{x1:g} {y1:g} L{x2:g} {y2:g}" stroke="{colour}"/>'
    if y1 == y2:
        return line + f'<path d="M{x2 + 3:g} {y2:g} l-8 -4 v8 z" fill="{colour}"/>'
    turn = 1 if y2 > y1 else -1
    return line + f'<path d="M{x2:g} {y2 + 3 * turn:g} l-4 {-8 * turn:g} h8 z" fill="{colour}"/>'


if __name__ == "__main__":
    for theme in COLOURS:
        Path(__file__).with_name(f"network-{theme}.svg").write_text(draw(theme))
