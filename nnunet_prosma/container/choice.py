"""Folds, mirroring and step size for a time limit: what each option takes, measured, and the best that fits.

More of each averages more predictions. We take folds before mirroring before overlap: of the options that fit, the one
with most folds, of these one with mirroring, of these the one with the smallest step.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from nnunet_prosma.errors import InputError
from nnunet_prosma.host.schema import FingerprintFile

STEPS = (0.5, 0.75, 1.0)
MARGIN = 1.25
"""A measured time may be longer there by this factor."""
START_S = 60.0
"""Time for the start of Python and torch from a cold disk, which is not measured here; a busy machine took 35 to 45
s."""
GPU_SHARE = 0.9


@dataclass(frozen=True)
class Option:
    folds: int
    mirroring: bool
    step_size: float
    seconds: float
    """Time of the slowest case, start and margin included."""
    gpu_gb: float | None
    """Peak on the GPU; None where there was none to measure on."""
    on_device: bool = True
    dice: float | None = None
    """nnU-Net's cross-validation, which is known for one fold with mirroring and step 0.5: as nnU-Net validates."""

    def fits(self, time_limit: float | None, gpu_memory: float | None) -> bool:
        in_time = time_limit is None or self.seconds <= time_limit
        return in_time and (gpu_memory is None or self.gpu_gb is None or self.gpu_gb <= GPU_SHARE * gpu_memory)


def rank(option: Option) -> tuple[int, bool, float, bool]:
    return option.folds, option.mirroring, -option.step_size, option.on_device


def choose(options: Sequence[Option], time_limit: float | None, gpu_memory: float | None) -> Option:
    fitting = [option for option in options if option.fits(time_limit, gpu_memory)]
    if not fitting:
        fastest = min(options, key=lambda option: option.seconds)
        memory = "" if fastest.gpu_gb is None else f" and {fastest.gpu_gb:.1f} GB of GPU memory"
        limits = f"--time-limit {time_limit:g} s" if time_limit is not None else "the limits"
        limits += "" if gpu_memory is None else f" and --gpu-memory {gpu_memory:g} GB"
        raise InputError(
            f"no option fits {limits}: the fastest, {fastest.folds} fold without mirroring and step "
            f"{fastest.step_size:g}, takes {fastest.seconds:.0f} s{memory}, of which "
            f"{START_S:.0f} s for the start, and a margin of {MARGIN - 1:.0%}; nothing was written"
        )
    return max(fitting, key=rank)


def extrapolate(outside_s: float, network_s: dict[tuple[bool, float], float], folds: int, **known: Any) -> list[Option]:
    """Every option, from one fold's seconds in the network and the seconds outside of it, the same for all."""
    options = []
    for count in range(folds, 0, -1):
        for (mirroring, step), seconds in network_s.items():
            whole = START_S + MARGIN * (outside_s + count * seconds)
            dice = known.get("dice") if (count, mirroring, step) == (1, True, STEPS[0]) else None
            options.append(
                Option(count, mirroring, step, whole, known.get("gpu_gb"), known.get("on_device", True), dice)
            )
    return options


def measure(bundle: Any, manifest: dict[str, Any], device: str, cases: Sequence[Any]) -> list[Option]:
    """cases: (image, properties) each; the slowest counts."""
    import torch

    from nnunet_prosma.bundle.predictor import BundlePredictor, How

    dice = [model["crossvalidation_dice"] for model in manifest["models"]]
    folds = min(len(model["folds"]) for model in manifest["models"])
    options: list[Option] = []
    for on_device in (True, False) if device == "cuda" else (False,):
        outside, network = 0.0, {}
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        for mirroring in (True, False):
            for step in STEPS:
                how = How(manifest["models"][0]["folds"][:1], step, mirroring, device, on_device, progress=False)
                started = time.monotonic()
                predictor = BundlePredictor(bundle, manifest, how)
                loading = (time.monotonic() - started) * folds
                taken = [_timed(predictor, case) for case in cases]
                network[mirroring, step] = max(inside for _, inside in taken)
                outside = max(outside, loading + max(whole - inside for whole, inside in taken))
        peak = torch.cuda.max_memory_reserved() / 1e9 if device == "cuda" else None
        known = {"gpu_gb": peak, "on_device": on_device, "dice": dice[0] if len(dice) == 1 else None}
        options += extrapolate(outside, network, folds, **known)
    return sorted(options, key=rank, reverse=True)


def _timed(predictor: Any, case: Any) -> tuple[float, float]:
    """Seconds of the whole case, and of these the seconds in the network."""
    inside = [0.0]
    for member in predictor.members:
        predict = member.predict_logits_from_preprocessed_data

        def timed(data: Any, predict: Any = predict) -> Any:
            started = time.monotonic()
            logits = predict(data)
            inside[0] += time.monotonic() - started
            return logits

        member.predict_logits_from_preprocessed_data = timed
    started = time.monotonic()
    predictor.segment(*case)
    return time.monotonic() - started, inside[0]


def largest_case(fingerprint: FingerprintFile, channels: int) -> tuple[np.ndarray, dict[str, Any]]:
    """Noise of the shape and spacing of the training case that is largest in the network's eyes: in cubic mm."""
    volumes = [
        np.prod(np.multiply(s, z)) for s, z in zip(fingerprint.shapes_after_crop, fingerprint.spacings, strict=True)
    ]
    index = int(np.argmax(volumes))
    shape = (channels, *(int(n) for n in fingerprint.shapes_after_crop[index]))
    noise = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    return noise, {"spacing": list(fingerprint.spacings[index])}


def table(options: Sequence[Option], chosen: Option, device: str) -> str:
    lines = [f"measured on {device} with one fold; several folds are reckoned from that", ""]
    lines.insert(1, f"seconds are with {START_S:.0f} s for the start and a margin of {MARGIN - 1:.0%}")
    lines.append("   folds  mirroring  step  seconds   GPU GB   Dice in cross-validation")
    for option in options:
        gpu = "unknown" if option.gpu_gb is None else f"{option.gpu_gb:.1f}"
        where = "" if option.on_device else " (logits in main memory)"
        dice = "unknown" if option.dice is None else f"{option.dice:.4f}"
        mark = "->" if option == chosen else "  "
        mirroring = "yes" if option.mirroring else "no"
        cells = f"{option.folds:5}  {mirroring:>9}  {option.step_size:4g}  {option.seconds:7.0f}  {gpu:>7}"
        lines.append(f"{mark} {cells}   {dice}{where}")
    return "\n".join(lines)


def as_json(option: Option) -> dict[str, Any]:
    return asdict(option)
