"""The results as text of at most 100 columns."""

from typing import Any

HEAD = ("network", "params", "GFLOPs", "step", "+-", "x", "infer", "+-", "x", "kept", "x", "peak", "x")
WIDTHS = (14, 8, 8, 8, 8, 6, 8, 8, 6, 7, 6, 7, 6)


def table(results: dict[str, dict[str, Any]]) -> str:
    """A row a network; what could not be measured is a dash."""
    lines = [_row(HEAD), _row(("", "M", "", "s", "s", "", "s", "s", "", "MB", "", "MB", ""))]
    for name, result in results.items():
        ratios = result["ratios"]
        cells = [name, _number(result.get("parameters"), 1e6), _number(result.get("flops"), 1e9)]
        for quantity in ("step_seconds", "inference_seconds"):
            times = result.get(quantity, {})
            cells += [_seconds(times.get("median")), _seconds(times.get("spread")), _ratio(ratios.get(quantity))]
        for quantity in ("kept_bytes", "peak_bytes"):
            cells += [_number(result.get(quantity), 1e6), _ratio(ratios.get(quantity))]
        lines.append(_row(cells))
        if "out_of_memory" in result:
            lines.append(f"{'':{WIDTHS[0]}} out of memory in {result['out_of_memory']}")
    return "\n".join(lines)


def stage_table(name: str, result: dict[str, Any]) -> str:
    """A row a gate, the coarsest first."""
    widths = (8, 14, 10, 12, 9)
    lines = [
        f"{name} by stage: parameters, GFLOPs and their share of the network's",
        _row(("gate", "size", "params", "GFLOPs", "share"), widths),
    ]
    for s, stage in enumerate(result["stages"]):
        size = "x".join(map(str, stage["size"]))
        share = f"{stage['flops'] / result['flops']:.2%}"
        lines.append(
            _row((f"gates.{s}", size, f"{stage['parameters']:,}", _number(stage["flops"], 1e9), share), widths)
        )
    parameters, operations = (sum(stage[key] for stage in result["stages"]) for key in ("parameters", "flops"))
    share = f"{operations / result['flops']:.2%}"
    lines.append(_row(("all", "", f"{parameters:,}", _number(operations, 1e9), share), widths))
    return "\n".join(lines)


def _row(cells: Any, widths: tuple[int, ...] = WIDTHS) -> str:
    first, *others = zip(cells, widths, strict=True)
    return (f"{first[0]:{first[1]}}" + "".join(f"{cell:>{width}}" for cell, width in others)).rstrip()


def _number(value: float | None, unit: float) -> str:
    if value is None:
        return "-"
    scaled = value / unit
    return f"{scaled:.0f}" if scaled >= 1000 else f"{scaled:.1f}" if scaled >= 10 else f"{scaled:.3f}"


def _seconds(value: float | None) -> str:
    return (
        "-" if value is None else f"{value:.4f}" if value < 0.1 else f"{value:.3f}" if value < 100 else f"{value:.0f}"
    )


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
