"""The labels of a dataset.json, as nnU-Net's LabelManager understands them.

Asking nnU-Net itself would import torch, 2 s and 600 MB, where a table of numbers is all that is wanted; a test holds
both together.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nnunet_prosma.errors import InputError

LabelKey = int | tuple[int, ...]


def read_labels(path: Path, dataset_json: Mapping[str, Any]) -> tuple[dict[LabelKey, str], int | None]:
    """nnU-Net's foreground labels, or regions where the data set has them, with their names; the ignored label."""
    try:
        return foreground(dataset_json["labels"], dataset_json.get("regions_class_order"))
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError) as error:  # int() of what is none
        raise InputError(f"{path}: nnU-Net cannot use its $.labels ({error})") from None


def foreground(labels: Mapping[str, Any], order: Sequence[int] | None) -> tuple[dict[LabelKey, str], int | None]:
    if "background" not in labels or isinstance(labels["background"], (list, tuple)) or int(labels["background"]):
        raise ValueError("background must be there, and be 0")
    ignore = labels.get("ignore")
    if ignore is not None and not isinstance(ignore, int):
        raise ValueError(f"the ignored label must be a number, not {ignore}")
    named: dict[str, LabelKey] = {name: key_of(value) for name, value in labels.items() if name != "ignore"}
    every = {label for key in named.values() for label in (key if isinstance(key, tuple) else (key,))}
    if ignore is not None and ignore != max(every) + 1:
        raise ValueError(f"the ignored label must be {max(every) + 1}, the highest, not {ignore}")
    if any(isinstance(key, tuple) and len(key) > 1 for key in named.values()):
        regions = [key for key in named.values() if set(parts_of(key)) != {0}]
        if order is None or len(order) != len(regions):
            raise ValueError(f"regions_class_order must have an entry for each of the {len(regions)} regions")
        names = {key: name for name, key in named.items()}
        return {key: names[key] for key in regions}, ignore
    names = {parts_of(key)[0]: name for name, key in named.items() if parts_of(key)}
    return {label: names.get(label, str(label)) for label in sorted(every) if label}, ignore


def key_of(value: Any) -> LabelKey:
    """The label or region that stands in dataset.json as a number or a list."""
    return tuple(int(v) for v in value) if isinstance(value, (list, tuple)) else int(value)


def key_from_text(text: str) -> LabelKey:
    """The label or region that stands in summary.json as "1" or "(1, 2)"."""
    parts = [int(part) for part in text.strip("()").split(",") if part.strip()]
    return tuple(parts) if text.startswith("(") else parts[0]


def parts_of(key: LabelKey) -> tuple[int, ...]:
    """The labels that a label or region is made of."""
    return key if isinstance(key, tuple) else (key,)
