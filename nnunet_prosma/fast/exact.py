"""Which uses of a gate a fast path serves exactly; every other one takes the gate's own forward, the definition.

The recomputed path calls the gate's forward twice, and the fused path not at all. So neither is for a gate whose
modules were replaced, are looked into by hooks, make their weights anew in each call, or hold a state; nor for
transforms of torch.func and forward-mode derivatives, of which a custom function knows nothing. All is looked up in
each call, since any of it can change between two calls.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.modules import module as all_modules

from nnunet_prosma.gate import AttentionGate, ProSMAGate

OWN = {
    *(ProSMAGate, AttentionGate, nn.Conv2d, nn.Conv3d, nn.InstanceNorm2d, nn.InstanceNorm3d),
    *(nn.Identity, nn.ReLU, nn.Sequential, nn.ModuleList),
}
"""Classes that the gates are built of. A parametrised module is of a class that torch makes for it, so not of these."""


def obstacle_to_recomputing(gate: nn.Module) -> str | None:
    """Why only the gate's own forward, called once, gives what this use asks for; None where calling it twice does."""
    if in_transform():
        return "a transform of torch.func or a forward-mode derivative is taken"
    if all_modules._has_any_global_hook():
        return "somebody looks into all modules by a hook"
    for part in gate.modules():
        has_state = any(buffer is not None for buffer in part._buffers.values())
        if type(part) not in OWN or has_state or "forward" in part.__dict__:
            return f"the gate has a {type(part).__name__} of somebody's own"
        if part._forward_pre_hooks or part._forward_hooks or part._backward_pre_hooks or part._backward_hooks:
            return "somebody looks into the gate by a hook"
    if getattr(gate, "_is_replica", False):
        return "the gate is a replica of DataParallel, which has no parameters"
    return None


def in_transform() -> bool:
    """Whether a transform of torch.func, vmap included, or forward-mode differentiation is at work."""
    return bool(torch._C._are_functorch_transforms_active()) or forward_ad._current_level >= 0


def obstacle_to_fusing(gate: ProSMAGate, skip: Tensor, signal: Tensor) -> str | None:
    """Why the fused arithmetic does not compute what this gate is; None if it does. For gates of OWN classes."""
    if type(skip) is not Tensor or type(signal) is not Tensor:
        return "the fused path is for plain tensors"
    if skip.shape[2:] != signal.shape[2:] or len(skip) != len(signal) or skip.ndim != 2 + len(gate.spatial_axes):
        return "the fused path is for a skip and a signal of one size"
    if not _is_as_built(gate, skip.shape[1], signal.shape[1]):
        return "the gate has layers other than those that it was built with"
    return None


def _is_as_built(gate: ProSMAGate, skip_channels: int, signal_channels: int) -> bool:
    latent, dimensions = len(gate.theta), len(gate.spatial_axes)
    layers: list[Any] = [
        (gate.skip_proj, latent, skip_channels, False),
        (gate.signal_proj, latent, signal_channels, True),
        (gate.fuse, latent, latent * len(gate.branches), True),
        (gate.psi, 1, latent, True),
    ]
    if gate.config.channel:
        mlp: list[Any] = list(gate.mlp)
        if [type(part) for part in mlp] != [type(gate.fuse), nn.ReLU, type(gate.fuse)]:
            return False
        hidden = mlp[0].weight.shape[0]
        layers += [(mlp[0], hidden, signal_channels, True), (mlp[2], skip_channels, hidden, True)]
    branches: list[Any] = list(gate.branches)
    return (
        type(gate.norm) is nn.Identity
        and gate.theta.ndim == 1
        and (not gate.config.residual or gate.alpha.ndim == 0)
        and len(branches) == len(gate.config.dilations)
        and len({branch.weight.shape for branch in branches}) == 1
        and {*branches[0].weight.shape[2:]} <= {1, gate.config.kernel_size}
        and all(_is_projection(*layer, dimensions=dimensions) for layer in layers)
        and all(_is_branch(b, d, latent, dimensions) for b, d in zip(branches, gate.config.dilations, strict=True))
    )


def _is_projection(conv: nn.Module, out: int, into: int, has_bias: bool, dimensions: int) -> bool:
    """Whether a layer is a convolution with a kernel of 1 that maps each voxel by one matrix."""
    return (
        isinstance(conv, (nn.Conv2d, nn.Conv3d))
        and conv.weight.shape == (out, into, *[1] * dimensions)
        and (conv.bias is not None) is has_bias
        and conv.stride == (1,) * dimensions
        and conv.padding == (0,) * dimensions
        and conv.groups == 1
    )


def _is_branch(conv: nn.Module, dilation: int, latent: int, dimensions: int) -> bool:
    """Whether a layer is the depthwise convolution of this dilation that keeps the size."""
    return (
        isinstance(conv, (nn.Conv2d, nn.Conv3d))
        and conv.weight.shape[:2] == (latent, 1)
        and conv.bias is None
        and conv.groups == latent
        and conv.stride == (1,) * dimensions
        and conv.dilation == (dilation,) * dimensions
        and conv.padding == tuple(dilation * (k // 2) for k in conv.weight.shape[2:])
        and conv.padding_mode == "zeros"
    )
