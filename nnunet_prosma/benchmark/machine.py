"""One line on the machine that measures."""

import os
import platform

import torch


def machine(device: torch.device) -> str:
    if device.type == "cuda":
        gigabytes = torch.cuda.get_device_properties(0).total_memory / 2**30
        return f"cuda: {torch.cuda.get_device_name(0)}, {gigabytes:.0f} GB, CUDA {torch.version.cuda}, fp16 AMP"
    threads = f"{torch.get_num_threads()} threads on {os.cpu_count()} cores"
    return f"{device.type}: {_processor()}, {threads}, float32, {platform.system()}"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
