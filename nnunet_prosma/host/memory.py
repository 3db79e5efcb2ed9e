"""How much main memory this process may take."""

import os
from pathlib import Path

CGROUP = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def memory_bytes() -> float:
    """The memory of the machine, or the container's limit if that is less; infinite if neither is told (Windows)."""
    limits = [float(path.read_text()) for path in CGROUP if path.is_file() and path.read_text().strip().isdigit()]
    if hasattr(os, "sysconf"):
        limits.append(float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")))
    return min(limits, default=float("inf"))
