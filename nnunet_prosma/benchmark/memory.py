"""Memory of a step: what autograd keeps for the backward pass, and the peak."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn


def storage_bytes(tensors: Iterable[Tensor]) -> dict[int, int]:
    """Bytes by storage, each once however many tensors view it. Identities hold while the tensors live."""
    return {t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in tensors}


def kept_activations(forward: Callable[[], object], network: nn.Module) -> int:
    """Bytes that autograd keeps for the backward pass of forward(), the network's parameters aside.

    The input counts, and so does what a custom autograd function keeps; a storage that several operations keep counts
    once, and whole where only a view of it is kept. Weights that autocast has cast are copies and count.
    """
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        forward()
    parameters = storage_bytes(network.parameters())
    return sum(size for key, size in storage_bytes(kept).items() if key not in parameters)


def peak_memory(step: Callable[[], object], standing: Iterable[Tensor], device: torch.device) -> int | None:
    """Most bytes alive at one time during step(), with the tensors that stand from step to step; None where unknown.

    On CUDA the caching allocator's own count. On a CPU every allocation and release of torch's allocator in time order,
    as torch's profiler records them: operations' temporary buffers, oneDNN's too, are in it, which a count of tensors
    would miss. The profiler does not see the release of what was there before: call with gradients set to None.
    """
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        step()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated()
    if device.type != "cpu":
        return None
    alive = peak = sum(storage_bytes(list(standing)).values())
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        step()
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    for event in sorted(events, key=lambda event: event.start_ns()):
        alive += event.nbytes()
        peak = max(peak, alive)
    return peak


def is_out_of_memory(error: BaseException) -> bool:
    """CUDA's error, Python's, and the RuntimeError of torch's CPU allocator."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    said = str(error).lower()
    return isinstance(error, RuntimeError) and any(
        words in said
        for words in ("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory")
    )
