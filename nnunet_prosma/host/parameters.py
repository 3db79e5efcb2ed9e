"""How many numbers the network of a checkpoint holds, without torch and without reading the numbers."""

import pickle
import zipfile
from collections import OrderedDict
from math import prod
from pathlib import Path
from typing import Any

BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


def count_parameters(checkpoint: Path) -> int | None:
    """How many parameters a checkpoint holds.

    Each tensor once: nnU-Net lists the encoder again under the decoder. None for what is no whole checkpoint.
    """
    try:
        with zipfile.ZipFile(checkpoint) as parts:
            (name,) = (n for n in parts.namelist() if n.count("/") == 1 and n.endswith("/data.pkl"))
            with parts.open(name) as file:
                weights = _Names(file).load()["network_weights"]
        tensors = {t.place: t.size for name, t in weights.items() if not name.endswith(BUFFERS)}
    except Exception:  # whatever stands in a file: the number of parameters is worth no more than a dash in a table
        return None
    return sum(map(prod, tensors.values()))


class _Inert:
    """Stands for everything that a checkpoint names but plain values: it takes all arguments and does nothing."""

    def __init__(self, *_: Any) -> None:
        pass

    def __call__(self, *_: Any) -> "_Inert":
        return self

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, value: Any) -> None:
        pass

    def extend(self, values: Any) -> None:
        pass


class _Tensor(_Inert):
    """place: where its numbers are, which tensors that are one share."""

    def __init__(self, storage: str, offset: int, size: tuple[int, ...], *_: Any) -> None:
        self.place, self.size = (storage, offset, size), size


class _Parameter(_Tensor):
    def __init__(self, data: _Tensor, *_: Any) -> None:
        self.place, self.size = data.place, data.size


def _with_attributes(kind: type, _: Any, arguments: tuple[Any, ...], attributes: Any) -> Any:
    """A tensor that something was set on in Python, such as the settings of gates."""
    return kind(*arguments)


class _Names(pickle.Unpickler):
    """Executes nothing: every name but OrderedDict is one of the classes here."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._tensor", "_rebuild_from_type_v2"):
            return _with_attributes
        kinds = {"_rebuild_tensor_v2": _Tensor, "_rebuild_parameter": _Parameter}
        return kinds.get(name, _Inert) if module == "torch._utils" else _Inert

    def persistent_load(self, pid: Any) -> str:
        return str(pid[2])
