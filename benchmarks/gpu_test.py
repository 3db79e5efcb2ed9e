"""All that is to be known of a GPU that nobody has tried: `make gpu-test`, under 15 minutes on the first one.

python benchmarks/gpu_test.py [-o gpu-test.md] [--device cpu]

Correctness of both paths in every precision; a training step of nnU-Net's own trainer with AMP, GradScaler and
torch.compile; DistributedDataParallel where there are two GPUs; prediction with mirroring; and the benchmark of 3d, 2d
and resenc-m. The file is made to be pasted into docs/benchmark.md. With --device cpu all runs in small on a CPU, to try
this script itself. Exit status 1 if something failed; each failure is in the file.
"""

import argparse
import contextlib
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("KINETO_LOG_LEVEL", "6")

import torch
from torch import nn

from nnunet_prosma.benchmark import as_text, benchmark
from nnunet_prosma.benchmark.machine import machine
from nnunet_prosma.benchmark.setting import Setting, from_preset
from nnunet_prosma.benchmark.trainable import trainable
from nnunet_prosma.fast.choice import choose, fault_of_fused
from nnunet_prosma.fast.concatenation import VARIABLE, by_path
from nnunet_prosma.fast.gpu import choose_paths, standard_gates
from nnunet_prosma.gate import GateConfig, ProSMAGate
from nnunet_prosma.host.silent_trainer import environment

PATHS = {name: partial(by_path, name) for name in ("fused", "recomputed", "reference")}
PRECISIONS = {"cuda": (torch.float16, torch.bfloat16, torch.float32), "cpu": (torch.float32, torch.float64)}
GATES = {
    "3D": (nn.Conv3d, 3, GateConfig()),
    "3D, anisotropic": (nn.Conv3d, (1, 3, 3), GateConfig()),
    "2D": (nn.Conv2d, 3, GateConfig(removal="hard")),
    "3D, residual": (nn.Conv3d, 3, GateConfig(residual=True)),
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", metavar="FILE", type=Path, default=Path("gpu-test.md"), help="default: %(default)s")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        print("make gpu-test is skipped: torch finds no GPU here.")
        return 0
    device = torch.device(options.device)
    lines, failures = [f"## {machine(device)}, torch {torch.__version__}", ""], 0
    for title, part in (
        ("Values and gradients of the paths", correctness),
        ("Paths chosen for nnU-Net's standard 3D plan", choices),
        ("Training steps as nnU-Net makes them", training),
        ("Several GPUs", several),
        ("Prediction with mirroring", prediction),
        ("What gates cost", cost),
    ):
        print(f"{title} ...", flush=True)
        begin, text, failed = time.perf_counter(), list[str](), False
        try:
            for line in part(device):
                text.append(line)
                failed |= line.startswith("FAILED")
        except Exception:
            failed = True
            text.append("FAILED " + traceback.format_exc(limit=-3).strip())
        failures += failed
        lines += [
            f"### {title} ({time.perf_counter() - begin:.0f} s{', FAILED' * failed})",
            "",
            "```",
            *text,
            "```",
            "",
        ]
        options.o.write_text("\n".join(lines))  # so that what was measured is there if the next part dies
    print(f"{options.o} is written" + (f"; {failures} parts failed" if failures else ""))
    return 1 if failures else 0


def correctness(device: torch.device) -> Iterator[str]:
    """Each path held against float64, as at the start of a training, in every precision."""
    for name, (conv_op, kernel, config) in GATES.items():
        torch.manual_seed(0)
        gate = ProSMAGate(conv_op, 32, 32, kernel, config).to(device)
        with torch.no_grad():
            for parameter in gate.parameters():
                parameter += 0.1 * torch.randn_like(parameter)
        shape = (2, 32, 20, 24, 22) if conv_op is nn.Conv3d else (2, 32, 70, 66)
        for dtype in PRECISIONS[device.type]:
            wide = gate.double() if dtype == torch.float64 else gate.float()
            for path in ("fused", "recomputed"):
                fault = fault_of_fused(wide, shape, {**PATHS, "fused": PATHS[path]}, _autocast(device, dtype))
                said = "FAILED " + fault.replace("the fused path", f"the {path} path") if fault else "right"
                yield f"{said}: {name}, {path}, {str(dtype).removeprefix('torch.')}"


def _autocast(device: torch.device, dtype: torch.dtype) -> Callable[[], contextlib.AbstractContextManager[Any]]:
    half = dtype in (torch.float16, torch.bfloat16)
    return partial(torch.autocast, device.type, dtype) if half else contextlib.nullcontext


def choices(device: torch.device) -> Iterator[str]:
    if device.type == "cuda":
        yield from choose_paths(standard_gates(device), device)
    else:
        gate = ProSMAGate(nn.Conv3d, 32, 32)
        yield str(choose(gate, (1, 32, 8, 8, 8), PATHS, _seconds, contextlib.nullcontext))


def _seconds(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def _setting(device: torch.device, preset: str = "3d") -> Setting:
    """Small enough for any GPU; on a CPU tiny."""
    small = {"3d": (16,) * 3, "2d": (32,) * 2, "resenc-m": (16,) * 3}[preset]
    large = {"3d": (64,) * 3, "2d": (256,) * 2, "resenc-m": (64,) * 3}[preset]
    patch = small if device.type == "cpu" else large
    return from_preset(preset, patch).resized(patch, 2)


def training(device: torch.device) -> Iterator[str]:
    """train_step of nnU-Net's trainer on each path, compiled and not: finite losses, and the scaler's scale."""
    compile_modes = ("f", "t") if device.type == "cuda" else ("f",)
    for path in ("fused", "recomputed"):
        for compiled in compile_modes:
            with environment(**{VARIABLE: path, "nnUNet_compile": compiled}):
                one = trainable("prosma", _setting(device), device)
                losses = [float(one.trainer.train_step(one.batch)["loss"]) for _ in range(4)]
            scale = one.trainer.grad_scaler.get_scale() if one.trainer.grad_scaler else 1.0
            finite = all(loss == loss and abs(loss) != float("inf") for loss in losses)
            how = f"{path}, {'compiled' if one.compiled else 'not compiled'}"
            figures = " ".join(f"{loss:.4f}" for loss in losses)
            yield f"{'right' if finite else 'FAILED'}: {how}, loss {figures}, scale {scale:g}"
            if device.type == "cuda":
                torch.compiler.reset()


def several(device: torch.device) -> Iterator[str]:
    """A step by DistributedDataParallel on two GPUs, after which both have the same gradients."""
    if device.type != "cuda" or torch.cuda.device_count() < 2:
        yield "skipped: there are no two GPUs"
        return
    with environment(MASTER_ADDR="localhost", MASTER_PORT="29511"):
        torch.multiprocessing.spawn(_on_rank, nprocs=2)
    yield "right: two processes have the same gradients after a step"


def _on_rank(rank: int) -> None:
    torch.cuda.set_device(rank)
    torch.distributed.init_process_group("nccl", rank=rank, world_size=2)
    device = torch.device("cuda", rank)
    gate = ProSMAGate(nn.Conv3d, 32, 32).to(device)
    choose_paths({"gate": (gate, (2, 32, 32, 32, 32))}, device)
    wrapped = nn.parallel.DistributedDataParallel(_Concatenation(gate), device_ids=[rank])
    wrapped(
        torch.randn(2, 32, 32, 32, 32, device=device), torch.randn(2, 32, 32, 32, 32, device=device)
    ).sum().backward()
    for parameter in gate.parameters():
        own = parameter.grad
        assert own is not None
        first = own.clone()
        torch.distributed.broadcast(first, 0)
        assert torch.equal(own, first), "gradients differ between the ranks"
    torch.distributed.destroy_process_group()


class _Concatenation(nn.Module):
    def __init__(self, gate: ProSMAGate) -> None:
        super().__init__()
        self.gate = gate

    def forward(self, skip: torch.Tensor, signal: torch.Tensor) -> torch.Tensor:
        from nnunet_prosma.fast.concatenation import gated_concatenation

        return gated_concatenation(self.gate, skip, signal)


def prediction(device: torch.device) -> Iterator[str]:
    """nnU-Net's predictor with mirroring on each path, against the reference path."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    one = trainable("prosma", _setting(device), device)
    one.network.eval()
    one.network.decoder.deep_supervision = False
    patch = one.trainer.configuration_manager.patch_size
    torch.manual_seed(0)
    image = torch.randn(one.input_channels, *(size + size // 2 for size in patch))
    predictor = nnUNetPredictor(device=device, use_mirroring=True, perform_everything_on_device=True)
    predictor.manual_initialization(
        *(one.network, one.trainer.plans_manager, one.trainer.configuration_manager),
        *([one.network.state_dict()], one.trainer.dataset_json, "nnUNetTrainerProSMA", (0, 1, 2)),
    )
    logits = {}
    for path in PATHS:
        with environment(**{VARIABLE: path}), torch.no_grad():
            logits[path] = predictor.predict_sliding_window_return_logits(image).float().cpu()
    for path in ("fused", "recomputed"):
        same = (logits[path].argmax(0) == logits["reference"].argmax(0)).float().mean().item()
        yield f"{'right' if same > 0.995 else 'FAILED'}: {path}, {same:.2%} of the voxels have the reference's label"


def cost(device: torch.device) -> Iterator[str]:
    """The benchmark of three presets, by the path that was chosen and by each."""
    paths = (None, "fused", "recomputed") if device.type == "cuda" else (None,)
    for preset in ("3d", "2d", "resenc-m") if device.type == "cuda" else ("2d",):
        setting = from_preset(preset) if device.type == "cuda" else _setting(device, preset)
        for path in paths if preset == "3d" else paths[:1]:
            networks = ["vanilla", "prosma"] if path or device.type == "cpu" else ["vanilla", "attention", "prosma"]
            with environment(**({VARIABLE: path} if path else {})):
                report = benchmark(setting, networks, device.type, rounds=5 if device.type == "cuda" else 1)
            yield f"path: {path or 'as chosen'}"
            yield as_text(report)
            yield ""


if __name__ == "__main__":
    sys.exit(main())
