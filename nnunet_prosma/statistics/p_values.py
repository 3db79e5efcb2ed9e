"""P-values as a reader sees them, in tables and sentences."""

from nnunet_prosma.statistics.studentised import LEVEL

ALPHA = round(1 - LEVEL, 12)


def p_value(p: float | None) -> str:
    """Three digits, and a fourth where three would hide on which side of 5 % it lies; a dash where there is none."""
    if p is None:
        return "–"
    if p < 0.001:
        return "< 0.001"
    return f"{p:.4f}" if round(p, 3) == ALPHA and p != ALPHA else f"{p:.3f}"


def said(p: float) -> str:
    """The p-value as a sentence has it: "p < 0.001", "p = 0.012"."""
    shown = p_value(p)
    return f"p {shown}" if shown.startswith("<") else f"p = {shown}"
