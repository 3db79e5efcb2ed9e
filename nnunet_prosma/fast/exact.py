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
GLOBAL_HOOKS = tuple(f"_global_{kind}_hooks" for kind in ("forward_pre", "forward", "backward_pre", "backward"))
"""The places where torch keeps hooks on all modules, from 2.4 on; its own _has_any_global_hook is newer."""
OTHER_LAYERS = "the gate was not built with these layers"


def obstacle_to_recomputing(gate: nn.Module) -> str | None:
    """Why only the gate's own forward, called once, gives what this use asks for; None where calling it twice does."""
    if in_transform():
        return "a transform of torch.func or a forward-mode derivative is taken"
    if any(getattr(all_modules, name) for name in GLOBAL_HOOKS):
        return "somebody looks into all modules by a hook"
    parts: list[Any] = [gate]
    while parts:  # faster than gate.modules()
        part = parts.pop()
        if part is None:
            continue
        parts.extend(part._modules.values())
        has_state = part._buffers and any(buffer is not None for buffer in part._buffers.values())
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
    return None if _is_as_built(gate, skip.shape[1], signal.shape[1]) else OTHER_LAYERS


def obstacle_in_layers(gate: ProSMAGate) -> str | None:
    """obstacle_to_fusing where there is no skip and no signal yet: of the gate's own layers."""
    channels = (getattr(gate._modules[name], "in_channels", 0) for name in ("skip_proj", "signal_proj"))
    return None if _is_as_built(gate, *channels) else OTHER_LAYERS


def precisions_of(gate: ProSMAGate) -> set[torch.dtype]:
    """The precisions of all parameters, faster than by gate.parameters()."""
    parts: list[Any] = [gate]
    found: set[torch.dtype] = set()
    while parts:
        part = parts.pop()
        parts.extend(part._modules.values())
        found.update([value.dtype for value in part._parameters.values() if value is not None])
    return found


def _is_as_built(gate: ProSMAGate, skip_channels: int, signal_channels: int) -> bool:
    config, dimensions = gate.config, len(gate.spatial_axes)
    theta, alpha, layers = gate._parameters["theta"], gate._parameters.get("alpha"), gate._modules
    if theta is None or theta.ndim != 1 or type(layers["norm"]) is not nn.Identity:
        return False
    if config.residual and (alpha is None or alpha.ndim):
        return False
    latent, branches = len(theta), list(layers["branches"]._modules.values())  # type: ignore[union-attr]
    expected: list[tuple[Any, int, int, bool]] = [
        (layers["skip_proj"], latent, skip_channels, False),
        (layers["signal_proj"], latent, signal_channels, True),
        (layers["fuse"], latent, latent * len(branches), True),
        (layers["psi"], 1, latent, True),
    ]
    if config.channel:
        mlp: list[Any] = list(layers["mlp"]._modules.values())  # type: ignore[union-attr]
        convolution = type(layers["fuse"])
        if [type(part) for part in mlp] != [convolution, nn.ReLU, convolution]:
            return False
        hidden = mlp[0].out_channels
        expected += [(mlp[0], hidden, signal_channels, True), (mlp[2], skip_channels, hidden, True)]
    for conv, out, into, has_bias in expected:
        if not _is_projection(conv, out, into, has_bias, dimensions):
            return False
    kernels = {_kernel_of_branch(branch, latent, dimensions) for branch in branches}
    return (
        len(branches) == len(config.dilations)
        and len(kernels) == 1
        and () not in kernels
        and {*kernels.pop()} <= {1, config.kernel_size}
        and all(_reaches(b, dilation) for b, dilation in zip(branches, config.dilations, strict=True))
    )


def _is_projection(conv: Any, out: int, into: int, has_bias: bool, dimensions: int) -> bool:
    """Whether a layer is a convolution with a kernel of 1 that maps each voxel by one matrix."""
    if not isinstance(conv, (nn.Conv2d, nn.Conv3d)):
        return False
    weight, bias = conv._parameters["weight"], conv._parameters["bias"]
    return (
        weight is not None
        and weight.shape == (out, into, *[1] * dimensions)
        and (bias is not None) is has_bias
        and conv.stride == (1,) * dimensions
        and conv.padding == (0,) * dimensions
        and conv.groups == 1
    )


def _kernel_of_branch(conv: Any, latent: int, dimensions: int) -> tuple[int, ...]:
    """The kernel's size of an undilated view of a depthwise convolution with stride 1; () of any other layer."""
    if not isinstance(conv, (nn.Conv2d, nn.Conv3d)):
        return ()
    shape = conv._parameters["weight"].shape  # type: ignore[union-attr]
    is_depthwise = shape[:2] == (latent, 1) and conv.groups == latent and len(shape) == 2 + dimensions
    is_plain = conv._parameters["bias"] is None and conv.stride == (1,) * dimensions and conv.padding_mode == "zeros"
    return tuple(shape[2:]) if is_depthwise and is_plain else ()


def _reaches(conv: Any, dilation: int) -> bool:
    """Whether a depthwise convolution has this dilation along each axis, and keeps the size."""
    kernel = conv.kernel_size
    return bool(
        conv.dilation == (dilation,) * len(kernel)
        and conv.padding == tuple(dilation * (k // 2) for k in kernel)
        and conv._parameters["weight"].shape[2:] == kernel
    )
