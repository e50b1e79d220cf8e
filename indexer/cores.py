"""How many cores may this process use, and how do the libraries know?

Libraries count those of the machine, or of the affinity; a container may have less time than these, and several
processes share it.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

THREADS = "OMP_NUM_THREADS"
"""What torch, FAISS, OpenBLAS and Arrow ask how many threads they may have, when they are loaded."""

_CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def cores(processes: int = 1) -> int:
    """Those of its affinity for which its control group has time, be it a part of it, divided by so many processes."""
    return max(1, math.ceil(min(_of_affinity(), _of_quota())) // processes)


def limit_threads(processes: int = 1) -> None:
    """Have libraries that are loaded from now on use no more, unless the user has said how many they may.

    Where they would find it out by themselves nothing is said: some leave out what is no core of its own.
    """
    if cores(processes) < _of_affinity():
        os.environ.setdefault(THREADS, str(cores(processes)))


def _of_affinity() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _of_quota() -> float:
    try:
        quota, period = _CPU_QUOTA.read_text().split()
        return int(quota) / int(period)
    except (OSError, ValueError):  # there is no such group, or no limit
        return math.inf
