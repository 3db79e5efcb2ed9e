"""Time of several calls, taken in turn, so that what else the machine does falls on all alike."""

import time
from collections.abc import Callable, Mapping
from statistics import median, quantiles

import torch

from nnunet_prosma.benchmark.memory import is_out_of_memory


def seconds(call: Callable[[], object], device: torch.device) -> float:
    """The time of one call; on CUDA between two events on the stream."""
    if device.type == "cuda":
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end) / 1000
    begin = time.perf_counter()
    call()
    if device.type == "mps":
        torch.mps.synchronize()
    return time.perf_counter() - begin


def interleaved(
    calls: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    warmup: int,
    device: torch.device,
    advance: Callable[[], object] = lambda: None,
) -> dict[str, list[float]]:
    """Seconds of each call in each round. A round runs every call once, and starts with another one each time.

    A call that runs out of memory is left out from then on, and has no times.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(-warmup, rounds):
        names = list(calls)
        first = number % len(names)
        for name in names[first:] + names[:first]:
            advance()
            if name not in times:
                continue
            try:
                taken = seconds(calls[name], device)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                del times[name]
                continue
            if number >= 0:
                times[name].append(taken)
    return times


def median_and_quartile_distance(values: list[float]) -> tuple[float, float]:
    """Median, and the distance between the quartiles (0 for a single value)."""
    if len(values) < 2:
        return values[0], 0.0
    low, _, high = quantiles(values, n=4, method="inclusive")
    return median(values), high - low


def ratio_by_round(values: list[float], reference: list[float]) -> float:
    """Median over the rounds of value / reference, both from the same round."""
    return median(value / other for value, other in zip(values, reference, strict=True))
