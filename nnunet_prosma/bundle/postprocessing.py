"""nnU-Net's postprocessing.pkl as JSON: what to do stands in the bundle by name, and no pickle is ever executed."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct

from nnunet_prosma.errors import InputError
from nnunet_prosma.host.check import checked

MODULE = "nnunetv2.postprocessing.remove_connected_components"
FUNCTION = "remove_all_but_largest_component_from_segmentation"


Label = int | list[int]
"""A label, or a region's labels."""


class Arguments(Struct, forbid_unknown_fields=True):
    """The arguments of nnU-Net's function."""

    labels_or_regions: int | list[Label]
    background_label: int = 0


class Step(Struct):
    function: str
    arguments: Arguments

    def __post_init__(self) -> None:
        if self.function != FUNCTION:
            raise ValueError(f"`function` must be {FUNCTION}, the only postprocessing that nnU-Net has")


class _Plain(pickle.Unpickler):
    """Finds the one function that nnU-Net's postprocessing consists of, and numpy's numbers; nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        allowed = {
            (MODULE, FUNCTION),
            ("numpy", "dtype"),
            *((f"numpy.{c}.multiarray", "scalar") for c in ("core", "_core")),
        }
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"{module}.{name}")
        if name == FUNCTION:
            return FUNCTION
        return np.dtype if name == "dtype" else np.float64(0).__reduce__()[0]


def read_pickle(path: Path) -> list[dict[str, Any]]:
    """The steps of a postprocessing.pkl, as JSON can hold them."""
    try:
        with path.open("rb") as file:
            functions, arguments = _Plain(file).load()
        steps = [{"function": f, "arguments": _plain(a)} for f, a in zip(functions, arguments, strict=True)]
        checked(steps, list[Step], str(path))
        return steps
    except pickle.UnpicklingError as error:
        raise InputError(f"{path} names {error}, and only nnU-Net's own postprocessing is taken over") from None
    except InputError:
        raise  # which is a ValueError too
    except (OSError, EOFError, ValueError, TypeError, AttributeError, IndexError, KeyError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as nnU-Net's postprocessing.pkl ({error})") from None


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


def steps(content: list[dict[str, Any]]) -> tuple[list[Callable[..., Any]], list[dict[str, Any]]]:
    """Functions and their arguments as nnU-Net's apply_postprocessing takes them. A region is a tuple there, several
    labels are a list."""
    from nnunet_prosma.host.export import remove_all_but_largest_component_from_segmentation

    checked(content, list[Step], "postprocessing")
    return [remove_all_but_largest_component_from_segmentation] * len(content), [
        _regions(s["arguments"]) for s in content
    ]


def _regions(arguments: dict[str, Any]) -> dict[str, Any]:
    return {**arguments, "labels_or_regions": _tuples(arguments["labels_or_regions"])}


def _tuples(value: Any) -> Any:
    return [tuple(v) if isinstance(v, list) else v for v in value] if isinstance(value, list) else value
