"""Plans with another network, patch or batch: a new Setup each time, since plans are never edited in place."""

from collections.abc import Mapping, Sequence
from typing import Any

from nnunet_prosma.host.plans import Plans, Setup


def with_size(setup: Setup, patch_size: Sequence[int] | None = None, batch_size: int | None = None) -> Setup:
    """The same network for another patch or batch."""
    changes = {"patch_size": patch_size and list(patch_size), "batch_size": batch_size}
    return _with(setup, {key: value for key, value in changes.items() if value is not None})


def with_gates(setup: Setup, kind: type | None = None, gate: Mapping[str, Any] | None = None) -> Setup:
    """Plans that name this class of network, or still their own, with these settings of its gates; None: with none."""
    architecture = setup.manager.configuration["architecture"]
    name = architecture["network_class_name"] if kind is None else f"{kind.__module__}.{kind.__qualname__}"
    arguments = {key: value for key, value in architecture["arch_kwargs"].items() if key != "gate"}
    if gate is not None:
        arguments["gate"] = dict(gate)
    return with_arguments(setup, name, arguments)


def with_arguments(setup: Setup, network_class: str, arguments: Mapping[str, Any]) -> Setup:
    """Plans that name this class of network with all its arguments, which are those of nnU-Net's arch_kwargs."""
    architecture = setup.manager.configuration["architecture"]
    changed = {**architecture, "network_class_name": network_class, "arch_kwargs": dict(arguments)}
    return _with(setup, {"architecture": changed})


def _with(setup: Setup, changes: Mapping[str, Any]) -> Setup:
    configurations = setup.plans.content["configurations"]
    changed = {**configurations, setup.configuration: {**configurations[setup.configuration], **changes}}
    plans = Plans.of({**setup.plans.content, "configurations": changed}, setup.plans.source)
    return Setup(plans, setup.configuration, setup.dataset)
