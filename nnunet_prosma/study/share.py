"""How many processor cores a training may use: an allocation's, or its share of this machine."""

import os
from collections.abc import Mapping


def cores() -> int:
    """The cores that this process may use: Slurm's allocation, where there is one."""
    for name in ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"):
        if os.environ.get(name, "").isdigit():
            return max(1, int(os.environ[name]))
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def variables(device: str, at_once: int, num_gpus: int, environment: Mapping[str, str]) -> dict[str, str]:
    """nnU-Net counts the machine's cores; what it may use is told to it, where the user has not.

    at_once: trainings that share the cores. nnU-Net takes at most 12 workers for each GPU; that stays.
    """
    share = max(1, cores() // at_once)
    alone = at_once == 1 and "SLURM_JOB_ID" not in environment
    told: dict[str, str] = {}
    if not alone:
        told["nnUNet_n_proc_DA"] = str(max(1, min(12, share // num_gpus - (device != "cpu"))))
        told["nnUNet_def_n_proc"] = str(max(1, min(8, share)))
        if device == "cpu":
            told["OMP_NUM_THREADS"] = str(share)
    if device == "cpu":
        told["OMP_WAIT_POLICY"] = "PASSIVE"
    return {name: value for name, value in told.items() if name not in environment}
