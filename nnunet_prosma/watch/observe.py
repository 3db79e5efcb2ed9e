"""One eager pass in which somebody looks into the gates, and the figures in which a gate is summed up."""

from collections.abc import Callable
from math import nan
from typing import Any

import torch
from torch import Tensor, nn

from nnunet_prosma.decoder import GatedDecoder
from nnunet_prosma.gate import GateFields
from nnunet_prosma.watch.record import HIGH, LOW

FINE = 1 << 20
"""Percentiles of more values than this are taken of every n-th (n odd), so that they cost no time worth speaking of."""


def bare(network: nn.Module) -> Any:
    """The network without the wrappers of torch.compile and DistributedDataParallel, so that it runs eagerly."""
    while True:
        inner = getattr(network, "_orig_mod", None) or (
            network.module if isinstance(network, nn.parallel.DistributedDataParallel) else None
        )
        if inner is None:
            return network
        network = inner


def observe(network: Any, image: Tensor, watcher: Callable[[int, GateFields], None]) -> Any:
    """What a gated network (not wrapped) answers to an image; meanwhile watcher is given each gate's number and fields.

    The answer is the one that nobody's looking gives: the fields are computed beside it.
    """
    decoder: GatedDecoder = network.decoder
    gates: Any = decoder.gates
    return decoder.decode(network.encode(image), lambda s, skip, signal: watcher(s, gates[s].fields(skip, signal)))


def summarise(fields: GateFields) -> dict[str, float]:
    """The numbers of record.STATISTICS that this gate has."""
    found: dict[str, float] = {}
    if fields.z is not None:
        survives = fields.z != 0
        found["zeros"] = 1 - share(survives)
        found["unsupported"] = 1 - share(survives.any(1))
        if bool(fields.z.isnan().any()):  # which is not zero, but no support either
            found |= {"zeros": nan, "unsupported": nan}
    if fields.lam is not None:
        lam = fields.lam.float()
        (median,) = quantiles(lam, 0.5)
        found |= {"lam_min": lam.min().item(), "lam_median": median, "lam_max": lam.max().item()}
    for name, values in (("psi", fields.psi), ("c", fields.c)):
        if values is not None:
            found[f"{name}_mean"] = values.float().mean().item()
            found[f"{name}_p05"], found[f"{name}_p95"] = quantiles(values.float(), 0.05, 0.95)
    return found


def saturation(psi: Tensor) -> dict[str, float]:
    """The shares of voxels at which a gate is as good as shut, and as good as open."""
    return {"psi_low": share(psi < LOW), "psi_high": share(psi > HIGH)}


def share(chosen: Tensor) -> float:
    return int(torch.count_nonzero(chosen)) / chosen.numel()


def quantiles(values: Tensor, *shares: float) -> list[float]:
    """Linear between the two nearest values, as numpy.quantile."""
    flat = values.flatten()
    step = -(-len(flat) // FINE) | 1 if len(flat) > FINE else 1
    return torch.quantile(flat[::step], torch.tensor(shares, device=flat.device)).tolist()
