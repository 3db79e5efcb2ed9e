"""The planner's estimate of memory against the measured peak of a training step, gated over vanilla, on small plans.

    python benchmarks/planner_estimate.py [--write docs/planner.md]

nnU-Net estimates by the number of elements that convolutions put out; only the estimate's ratio to a reference counts
in planning, so here the ratio of the gated to the vanilla network is held against that of what was measured. Weights
and momentum, which the estimate leaves out, are taken off one of the peaks: on plans as small as these they would hide
what grows with the patch.
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # before torch: its profiler reports a missing GPU as an error

import marked
import torch
from tqdm import tqdm

from nnunet_prosma.benchmark.machine import machine
from nnunet_prosma.benchmark.memory import kept_activations, peak_memory, storage_bytes
from nnunet_prosma.benchmark.setting import Setting, from_preset
from nnunet_prosma.benchmark.trainable import TrainableNetwork, trainable
from nnunet_prosma.fast.concatenation import VARIABLE
from nnunet_prosma.host.changed import with_arguments

PLANS = (
    ("3d", 5, (48, 48, 48), 1),
    ("3d", 4, (32, 32, 32), 4),
    ("2d", 6, (160, 160), 2),
    ("2d", 5, (96, 96), 6),
    ("3d-aniso", 5, (12, 80, 64), 2),
    ("resenc-m", 4, (48, 48, 48), 1),
    ("resenc-m", 4, (32, 32, 32), 2),
)
"""Preset, its first stages (with half their channels), patch, batch: with few weights for their activations."""
NETWORKS = (("vanilla", "recomputed"), ("attention", "recomputed"), ("prosma", "recomputed"), ("prosma", "fused"))
"""Each with the path that its gates take."""


def shortened(preset: str, stages: int, patch: tuple[int, ...], batch: int) -> Setting:
    setup = from_preset(preset).setup
    arguments = {
        key: value[: stages - 1 if key == "n_conv_per_stage_decoder" else stages] if isinstance(value, list) else value
        for key, value in setup.said.architecture.arch_kwargs.items()
    }
    arguments["n_stages"] = stages
    arguments["features_per_stage"] = [channels // 2 for channels in arguments["features_per_stage"]]
    return Setting(preset, with_arguments(setup, setup.network_class, arguments)).resized(patch, batch)


def estimate(one: TrainableNetwork, setting: Setting) -> int:
    """As the planner calls it: without the extra outputs of deep supervision."""
    one.trainer.set_deep_supervision_enabled(False)
    return int(one.network.compute_conv_feature_map_size(setting.setup.patch_size))


def quantities(name: str, setting: Setting, device: torch.device) -> dict[str, int]:
    one = trainable(name, setting, device)
    one.training_step()
    one.forget_gradients()
    kept = kept_activations(one.training_forward, one.network)
    standing = sum(storage_bytes(list(one.standing_tensors())).values())
    peak = peak_memory(one.training_step, one.standing_tensors(), device)
    return {"estimate": estimate(one, setting), "kept": kept, "above_weights": peak - standing, "peak": peak}


def rows(device: torch.device) -> list[str]:
    lines = [
        "| plans | patch, batch | network | estimate | kept | peak above weights | peak |",
        "|---|---|---|---|---|---|---|",
    ]
    for preset, stages, patch, batch in tqdm(PLANS, desc="plans"):
        setting = shortened(preset, stages, patch, batch)
        measured = {}
        for name, path in NETWORKS:
            os.environ[VARIABLE] = path
            measured["vanilla" if name == "vanilla" else f"{name}, {path}"] = quantities(name, setting, device)
        vanilla = measured["vanilla"]
        size = "x".join(map(str, patch))
        for name in measured:
            cells = []
            for key in ("estimate", "kept", "above_weights", "peak"):
                value, other = measured[name][key], vanilla[key]
                unit = " M" if key == "estimate" else " MB"
                shown = value * (batch if key == "estimate" else 1) / 1e6
                cells.append(f"{shown:.0f}{unit}" if name == "vanilla" else f"{value / other:.2f}x")
            where = (f"{preset}, {stages} stages", f"{size}, {batch}") if name == "vanilla" else ("", "")
            lines.append("| " + " | ".join([*where, name, *cells]) + " |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", metavar="FILE", type=Path, help="replace the table between the marks in FILE")
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    text = "\n".join([*rows(device), "", f"Measured on {machine(device)}; torch {torch.__version__}."])
    print(text)
    if options.write:
        marked.replace(options.write, "planner_estimate.py", text)


if __name__ == "__main__":
    main()
