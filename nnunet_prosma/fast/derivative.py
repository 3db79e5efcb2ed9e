"""Gradients that can be differentiated themselves, for a backward pass that is part of what is differentiated."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor

from nnunet_prosma.fast.exact import in_transform

Context = Callable[[], AbstractContextManager[Any]]


def is_itself_transformed(grad: Tensor) -> bool:
    """Whether the backward pass of this gradient is itself differentiated (create_graph=True) or batched by vmap."""
    return torch.is_grad_enabled() or in_transform() or torch._C._functorch.is_legacy_batchedtensor(grad)


def differentiable_gradients(
    run: Callable[..., Tensor], inputs: Sequence[Tensor], grad: Tensor, context: Context = nullcontext
) -> tuple[Tensor, ...]:
    """The gradients of run's inputs from that of its result, connected to both: partial derivatives, even where one
    input was computed from another."""
    with context():
        gradients_of = torch.func.vjp(run, *inputs)[1]
    gradients: tuple[Tensor, ...] = gradients_of(grad)
    return gradients


def autocast_as_now(device: str) -> Context:
    """What enters autocast as it is on this device now."""
    if not torch.amp.is_autocast_available(device):
        return nullcontext
    return partial(torch.autocast, device, torch.get_autocast_dtype(device), torch.is_autocast_enabled(device))
