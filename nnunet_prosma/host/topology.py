"""How nnU-Net's planner shapes a network for a patch."""

from collections.abc import Sequence


def strides_and_kernels(spacing: Sequence[float], patch: Sequence[int]) -> tuple[list[list[int]], list[list[int]]]:
    """By stage of the encoder, the finest first, as nnU-Net's default planner chooses them."""
    from nnunetv2.experiment_planning.experiment_planners.network_topology import get_pool_and_conv_props

    _, strides, kernels, _, _ = get_pool_and_conv_props(spacing, patch, 4, 999999)
    return [list(stride) for stride in strides], [list(kernel) for kernel in kernels]
