"""All measurements of several networks on one setting, one network after the other and then in turn."""

import gc
from collections.abc import Callable, Mapping
from typing import Any

import torch

from nnunet_prosma.architectures.gated_unet import GatedNetwork
from nnunet_prosma.benchmark.arithmetic import decoder_stages, flops, parameter_count
from nnunet_prosma.benchmark.memory import is_out_of_memory, kept_activations, peak_memory
from nnunet_prosma.benchmark.timing import interleaved, median_and_quartile_distance, ratio_by_round
from nnunet_prosma.benchmark.trainable import TrainableNetwork
from nnunet_prosma.decoder import gates_of
from nnunet_prosma.fast.concatenation import chosen_paths
from nnunet_prosma.progress import progress_bar

WARMUP = 2
QUANTITIES = ("step_seconds", "inference_seconds", "kept_bytes", "peak_bytes")

Builders = Mapping[str, Callable[[], TrainableNetwork]]


def measure(
    builders: Builders, device: torch.device, rounds: int, reference: str = "vanilla"
) -> dict[str, dict[str, Any]]:
    """The measurements by name of a network: what it has, takes and keeps, and the ratio of each of QUANTITIES to the
    reference.

    Memory is measured with one network on the device at a time; times in turn, with all that fitted alive together.
    A network that runs out of memory has "out_of_memory", which names where, and only what was measured before.
    """
    results: dict[str, dict[str, Any]] = {}
    with progress_bar(total=len(builders) * (1 + 2 * (WARMUP + rounds)), desc="benchmark", unit="run") as bar:
        for name, build in builders.items():
            bar.set_postfix_str(f"{name}: memory")
            results[name] = {}
            _survive(results[name], "a training step", lambda: _alone(build(), device, results[name]))  # noqa: B023
            _release(device)
            bar.update()
        trained: dict[str, TrainableNetwork] = {}
        for name, build in builders.items():
            if "out_of_memory" not in results[name]:
                _survive(results[name], "being built beside the others", lambda: trained.update({name: build()}))  # noqa: B023
        for quantity, what in (("step_seconds", "training_step"), ("inference_seconds", "inference")):
            bar.set_postfix_str(what.replace("_", " "))
            calls = {name: getattr(one, what) for name, one in trained.items()}
            times = interleaved(calls, rounds=rounds, warmup=WARMUP, device=device, advance=bar.update) if calls else {}
            for name in calls:
                if name not in times:
                    results[name]["out_of_memory"] = f"{what.replace('_', ' ')}, with the others in memory"
                    del trained[name]
                    continue
                middle, distance = median_and_quartile_distance(times[name])
                results[name][quantity] = {"median": middle, "spread": distance, "rounds": times[name]}
            for one in trained.values():
                one.forget_gradients()
    for result in results.values():
        result["ratios"] = _ratios(result, results.get(reference, {}))
    return results


def _alone(one: TrainableNetwork, device: torch.device, result: dict[str, Any]) -> None:
    """What is measured with no other network on the device; the first step also makes the momentum."""
    network, shape = one.network, one.batch["data"].shape
    result["parameters"] = parameter_count(network)
    result["flops"] = flops(network, shape)
    if isinstance(network, GatedNetwork):
        result["stages"] = decoder_stages(network, shape[0], shape[2:])
        result["gate_path"] = chosen_paths(dict(gates_of(network)), device) if result["stages"] else None
    one.training_step()
    one.forget_gradients()
    result["kept_bytes"] = kept_activations(one.training_forward, network)
    one.forget_gradients()
    result["peak_bytes"] = peak_memory(one.training_step, one.standing_tensors(), device)


def _ratios(result: dict[str, Any], reference: dict[str, Any]) -> dict[str, float]:
    ratios = {}
    for quantity in QUANTITIES:
        mine, other = result.get(quantity), reference.get(quantity)
        if mine is None or other is None:
            continue
        if isinstance(mine, dict):
            ratios[quantity] = ratio_by_round(mine["rounds"], other["rounds"])
        else:
            ratios[quantity] = mine / other
    return ratios


def _survive(result: dict[str, Any], where: str, action: Callable[[], object]) -> None:
    try:
        action()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        result["out_of_memory"] = where


def _release(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.compiler.reset()  # else what was measured so far counts against the recompilations that dynamo allows
        torch.cuda.empty_cache()
