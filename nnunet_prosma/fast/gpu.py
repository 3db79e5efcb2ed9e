"""A GPU's choice of paths, made at the start of a training: for each gate, remembered, and the same on all ranks."""

import json
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from nnunet_prosma import __version__
from nnunet_prosma.fast import choice
from nnunet_prosma.fast.choice import Choice
from nnunet_prosma.fast.concatenation import by_path, forced_path, lasting_obstacle
from nnunet_prosma.gate import ProSMAGate

T = TypeVar("T")
Decide = Callable[[ProSMAGate, Sequence[int]], Choice]


def choose_paths(
    gates: Mapping[str, tuple[nn.Module, Sequence[int]]],
    device: torch.device,
    *,
    compiled: bool = False,
    decide: Decide | None = None,
    remembered_in: Path | None = None,
) -> list[str]:
    """Sets the path of each gate, given by name with the shape of its skip; says how it was decided, line by line.

    Nothing happens where the environment variable forces a path, and on other devices than CUDA's, unless decide, which
    stands for the measurement there, is given. Rank 0 decides for all ranks.
    """
    if forced_path() is not None or (device.type != "cuda" and decide is None):
        return []
    open_to_choice = {
        name: (gate, shape)
        for name, (gate, shape) in gates.items()
        if isinstance(gate, ProSMAGate) and lasting_obstacle(gate, device) is None
    }
    if not open_to_choice:
        return []
    measure = decide or partial(on_this_gpu, compiled=compiled)
    choices, notes = from_rank_0(lambda: _decided(open_to_choice, device, compiled, measure, remembered_in))
    for name, (gate, _) in open_to_choice.items():
        gate.decided_path = choices[name].path  # type: ignore[assignment]
    for remark in dict.fromkeys(c.remark for c in choices.values() if c.remark):
        warnings.warn(f"gates on {device.type}: {remark}; the recomputed path is taken", stacklevel=2)
    return [
        "Paths of the gates, as timed on this GPU (forward and backward):",
        *(f"  {name}: {chosen}" for name, chosen in choices.items()),
        *notes,
    ]


def _decided(
    gates: Mapping[str, tuple[ProSMAGate, Sequence[int]]],
    device: torch.device,
    compiled: bool,
    decide: Decide,
    remembered_in: Path | None,
) -> tuple[dict[str, Choice], list[str]]:
    path = remembered_in or cache_file()
    known, new, choices = remembered(path), dict[str, Any](), dict[str, Choice]()
    for name, (gate, shape) in gates.items():
        key = key_of(gate, shape, device, compiled)
        if key in known:
            choices[name] = Choice(**known[key])
        else:
            choices[name] = decide(gate, shape)
            known[key] = new[key] = choices[name].to_dict()
    notes = [] if new else [f"  as remembered in {path}"]
    if new:
        try:
            remember(path, new)
        except OSError as error:
            notes.append(f"  they cannot be remembered in {path}: {error.strerror or error}")
    return choices, notes


def on_this_gpu(gate: ProSMAGate, shape: Sequence[int], compiled: bool) -> Choice:
    """The choice for one gate, measured under nnU-Net's autocast; the recomputed path compiled, if the network is."""
    paths: dict[str, choice.Path] = {name: partial(by_path, name) for name in ("fused", "recomputed", "reference")}
    if compiled:
        paths["recomputed"] = torch.compile(paths["recomputed"], dynamic=False)
    chosen = choice.choose(gate, shape, paths, cuda_seconds, autocast)
    torch.cuda.empty_cache()
    return chosen


def autocast() -> AbstractContextManager[Any]:
    return torch.autocast("cuda")


def cuda_seconds(call: Callable[[], object]) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    call()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / 1000


def from_rank_0(make: Callable[[], T]) -> T:
    """What make gives on the first of several processes that train together, on all of them."""
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized()):
        return make()
    held: list[Any] = [make() if distributed.get_rank() == 0 else None]
    distributed.broadcast_object_list(held, src=0)
    made: T = held[0]
    return made


def key_of(gate: ProSMAGate, shape: Sequence[int], device: torch.device, compiled: bool) -> str:
    """All that decides which path is faster, as one line."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    try:
        from triton import __version__ as triton
    except ImportError:
        triton = "none"
    branches: Any = gate.branches
    kernels = [tuple(branch.weight.shape[2:]) for branch in branches]
    return " | ".join(
        [
            *(name, f"nnunet-prosma {__version__}", f"torch {torch.__version__}", f"triton {triton}"),
            f"cuda {torch.version.cuda}",
            *("x".join(map(str, shape)), f"signal {gate.signal_proj.weight.shape[1]}"),
            f"latent {len(gate.theta)}, dilations {list(gate.config.dilations)}, kernels {kernels}",
            *(
                gate.config.removal,
                f"residual {gate.config.residual}",
                f"channel {gate.config.channel}",
                "compiled" if compiled else "eager",
            ),
        ]
    )


def cache_file() -> Path:
    """The file of choices in the user's cache folder, where the platform has it."""
    home = Path.home()
    places = {
        "win32": os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local",
        "darwin": home / "Library" / "Caches",
    }
    folder = places.get(sys.platform) or os.environ.get("XDG_CACHE_HOME") or home / ".cache"
    return Path(folder) / "nnunet-prosma" / "paths.json"


def remembered(path: Path) -> dict[str, dict[str, Any]]:
    """What the file holds; nothing where there is none, or one that cannot be read: then it is measured again."""
    try:
        content = json.loads(path.read_text())
        entries = {key: Choice(**value).to_dict() for key, value in content.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
    return {key: value for key, value in entries.items() if value["path"] in ("fused", "recomputed")}


def remember(path: Path, new: Mapping[str, Mapping[str, Any]]) -> None:
    """Adds to what the file holds by now; it is replaced in one step."""
    from nnunet_prosma.files import write_json

    write_json(path, {**remembered(path), **new})


def standard_gates(device: torch.device) -> dict[str, tuple[ProSMAGate, tuple[int, ...]]]:
    """The gates of nnU-Net's standard 3D plan, 128x128x128 in batches of 2, with the shapes of their skips."""
    channels, gates = (320, 256, 128, 64, 32), {}
    for s, (features, size) in enumerate(zip(channels, (8, 16, 32, 64, 128), strict=True)):
        gates[f"gates.{s}"] = (ProSMAGate(nn.Conv3d, features, features).to(device), (2, features, *[size] * 3))
    return gates
