"""gates.csv and gates.json: every number of an inspection."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nnunet_prosma.files import write_json, write_text
from nnunet_prosma.inspect.measure import PLACES, Channel, GateRow
from nnunet_prosma.inspect.smoothed import Smoothed

MEANS = ("all", *(f"{mask}_{place}" for mask in ("prediction", "truth") for place in PLACES))
COLUMNS = (
    *("case", "gate", "stride", "zeros", "unsupported"),
    *(f"psi_{name}" for name in MEANS),
    *("c_mean", "most_closed", "most_open"),
)


def write_tables(
    rows: Sequence[GateRow], settings: Mapping[str, Any], folder: Path, smoothed: Mapping[str, Smoothed] | None = None
) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {
                "case": row.case,
                "gate": row.name,
                "stride": row.stride,
                "zeros": _text(row.zeros),
                "unsupported": _text(row.unsupported),
                **{f"psi_{name}": _text(row.psi.get(name)) for name in MEANS},
                "c_mean": _text(row.c_mean),
                "most_closed": " ".join(map(_channel, row.most_closed)),
                "most_open": " ".join(map(_channel, row.most_open)),
            }
        )
    write_text(folder / "gates.csv", text.getvalue())
    content = {**settings, "gates": [_entry(row) for row in rows]}
    if smoothed:
        content["smoothed"] = {
            case: {"changed": s.changed, "voxels": s.voxels, "sizes": s.sizes} for case, s in smoothed.items()
        }
    write_json(folder / "gates.json", content)


def _entry(row: GateRow) -> dict[str, Any]:
    return {
        "case": row.case,
        "gate": row.name,
        "stride": row.stride,
        "zeros": row.zeros,
        "unsupported": row.unsupported,
        "psi": row.psi,
        "c_mean": row.c_mean,
        "c": [{**({"fold": c.fold} if c.fold else {}), "channel": c.channel, "c": c.c} for c in row.channels],
    }


def _channel(channel: Channel) -> str:
    return f"{channel.fold + ':' if channel.fold else ''}{channel.channel}={channel.c:.4f}"


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
