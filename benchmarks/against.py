"""What the gates cost in an earlier version and in this one, in turn, as the CPU time of one thread.

    pip install --no-deps --target OLDER "git+file://$PWD@COMMIT"
    python benchmarks/against.py OLDER [--networks NAME ...] [--write docs/benchmark.md]

Three processes, vanilla nnU-Net and ProSMA of either version, take a training step and a prediction by turns on the
same networks. Shown are the medians of each round's ratios to vanilla, in CPU time, into which little comes of what
else the machine does.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import marked
import torch

from nnunet_prosma.benchmark.machine import machine

LEAST, MOST, WARM_UP = 9, 41, 2
SECONDS = 20
"""Of vanilla's steps, after which there are rounds enough: a single ratio is good to a tenth."""
NETWORKS = {  # patch, batch, stages, channels of the first stage
    "3D, 32x32x32, batch 2": ((32, 32, 32), 2, 4, 32),
    "3D, 48x48x48, batch 2": ((48, 48, 48), 2, 4, 32),
    "3D, 64x64x64, batch 2": ((64, 64, 64), 2, 5, 32),
    "3D, 32x32x32, batch 2, 8 channels": ((32, 32, 32), 2, 4, 8),
    "3D, 48x48x48, batch 2, 8 channels": ((48, 48, 48), 2, 4, 8),
    "2D, 64x64, batch 8": ((64, 64), 8, 5, 32),
    "2D, 128x128, batch 8": ((128, 128), 8, 6, 32),
    "2D, 192x192, batch 8": ((192, 192), 8, 6, 32),
    "2D, 128x128, batch 8, 8 channels": ((128, 128), 8, 6, 8),
}
WHO = ("vanilla", "before", "now")
KEEPS_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 32), "MALLOC_TRIM_THRESHOLD_": str(1 << 33)}
"""For glibc: freed memory stays with the process. Else a virtual machine takes more time to hand out pages anew, for
vanilla as for gates, than they differ by."""

WORKER = """
import json, sys, time
import torch
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

torch.set_num_threads(1)
trainer = nnUNetTrainer
if sys.argv[1] == "gated":
    from nnunet_prosma.trainers import nnUNetTrainerProSMA as trainer
for line in sys.stdin:
    asked = json.loads(line)
    if "plans" in asked:
        torch.manual_seed(0)
        manager = PlansManager(asked["plans"])
        configured = manager.get_configuration("it")
        network = trainer.build_network_architecture(manager, configured, 1, 3, True)
        batch = torch.randn(configured.batch_size, 1, *configured.patch_size)
        optimizer = torch.optim.SGD(network.parameters(), 1e-5, momentum=0.99, nesterov=True)
        times = 0.0
    else:
        begun = time.process_time()
        if asked["step"]:
            network.train()
            optimizer.zero_grad(set_to_none=True)
            sum(output.square().mean() for output in network(batch)).backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 12)
            optimizer.step()
        else:
            network.eval()
            with torch.inference_mode():
                network(batch)
        times = time.process_time() - begun
    print(json.dumps(times), flush=True)
"""


class Worker:
    def __init__(self, kind: str, older: Path | None = None) -> None:
        env = {**os.environ, **KEEPS_MEMORY, "OMP_NUM_THREADS": "1", "nnUNet_compile": "f"}
        if older is not None:
            env["PYTHONPATH"] = str(older.resolve())
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, kind], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, **what: Any) -> float:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()
        seconds: float = json.loads(self.process.stdout.readline())
        return seconds


def plans(patch: tuple[int, ...], batch: int, stages: int, channels: int) -> dict[str, Any]:
    """As nnU-Net's planner makes them for isotropic data."""
    size = len(patch)
    kwargs = {
        "n_stages": stages,
        "features_per_stage": [min(channels * 2**s, 512 if size == 2 else 320) for s in range(stages)],
        "conv_op": f"torch.nn.modules.conv.Conv{size}d",
        "kernel_sizes": [[3] * size] * stages,
        "strides": [[1] * size] + [[2] * size] * (stages - 1),
        "n_conv_per_stage": [2] * stages,
        "n_conv_per_stage_decoder": [2] * (stages - 1),
        "conv_bias": True,
        "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{size}d",
        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
    architecture = {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": kwargs,
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }
    configuration = {"patch_size": patch, "batch_size": batch, "architecture": architecture}
    return {"plans_name": "nnUNetPlans", "configurations": {"it": configuration}}


def measured(workers: dict[str, Worker], step: bool) -> dict[str, float]:
    """The medians of the rounds' ratios to vanilla, and vanilla's seconds."""
    rounds: list[dict[str, float]] = []
    while not _are_enough(rounds[WARM_UP:]):
        number = len(rounds)
        order = WHO[number % 3 :] + WHO[: number % 3]
        rounds.append({who: workers[who].ask(step=step) for who in order})
    kept = rounds[WARM_UP:]
    ratios = {who: statistics.median(r[who] / r["vanilla"] for r in kept) for who in WHO[1:]}
    change = statistics.median((r["now"] - r["before"]) / r["vanilla"] for r in kept)
    return {**ratios, "change": change, "seconds": statistics.median(r["vanilla"] for r in kept)}


def _are_enough(rounds: list[dict[str, float]]) -> bool:
    return len(rounds) >= MOST or (len(rounds) >= LEAST and sum(r["vanilla"] for r in rounds) >= SECONDS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("older", type=Path, help="folder in which the earlier version was installed")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS), help="default: all")
    parser.add_argument("--write", metavar="FILE", type=Path, help="replace the table between the marks in FILE")
    options = parser.parse_args()
    workers = {"vanilla": Worker("vanilla"), "before": Worker("gated", options.older), "now": Worker("gated")}
    lines = [
        "| network (vanilla's step) | training step: before | now | change | prediction: before | now | change |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in options.networks:
        for worker in workers.values():
            worker.ask(plans=plans(*NETWORKS[name]))
        step, infer = measured(workers, True), measured(workers, False)
        cells = [
            f"{m[what]:+.2f}" if what == "change" else f"{m[what]:.2f}x"
            for m in (step, infer)
            for what in (*WHO[1:], "change")
        ]
        lines.append(f"| {name} ({step['seconds']:.2f} s) | " + " | ".join(cells) + " |")
        print(lines[-1], flush=True)
    text = "\n".join(
        [
            *lines,
            "",
            f"Medians of {LEAST} to {MOST} rounds, more of shorter steps; {machine(torch.device('cpu'))}, of which one "
            f"was used; {torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}.",
        ]
    )
    print(text)
    if options.write:
        marked.replace(options.write, Path(sys.argv[0]).name, text)


if __name__ == "__main__":
    main()
