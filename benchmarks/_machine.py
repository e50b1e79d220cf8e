"""On what machine was something measured, was it idle, and how much of its memory did a process take?"""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    *("parecido", "faiss-cpu", "numpy", "openvino", "torch", "sentence-transformers", "pyarrow"),
    *("fastapi", "starlette", "uvicorn", "uvloop", "httptools", "orjson"),
)
INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
"""Whose absence makes embedding or FAISS a different thing."""
WATCHED = 2.0
"""Seconds."""


def machine() -> dict[str, str]:
    """What it is, and the versions of what runs on it."""
    known = {
        "processor": _named(Path("/proc/cpuinfo"), "model name") or platform.processor() or platform.machine(),
        "instructions": ", ".join(sorted({*_named(Path("/proc/cpuinfo"), "flags").split()} & {*INSTRUCTIONS})),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
    }
    return known | _versions()


def _versions() -> Mapping[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _named(path: Path, field: str) -> str:
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        name, _, value = line.partition(":")
        if name.strip() == field:
            return value.strip()
    return ""


def load_average() -> float:
    """Of the last minute, that of what was measured in it included."""
    return os.getloadavg()[0]


def busy(seconds: float = WATCHED) -> float | None:
    """How many cores others keep busy, by watching for so long; None where the system does not tell."""
    before = _ticks()
    time.sleep(seconds)
    after = _ticks()
    if before is None or after is None or after[1] == before[1]:
        return None
    idle, every = (now - then for now, then in zip(after, before, strict=True))
    return (os.cpu_count() or 1) * (1 - idle / every)


def _ticks() -> tuple[int, int] | None:
    """Of all cores since the start, idle ones and all."""
    path = Path("/proc/stat")
    if not path.exists():
        return None
    user, nice, system, idle, wait, *others = map(int, path.read_text().split("\n", 1)[0].split()[1:9])
    return idle + wait, user + nice + system + idle + wait + sum(others)


def mapped(name: str, process: int | str = "self") -> int:
    """Bytes of the PSS of mapped files of that name in a process; 0 where the system does not tell."""
    smaps = Path(f"/proc/{process}/smaps")
    total, wanted = 0, False
    for line in smaps.read_text().splitlines() if smaps.exists() else ():
        if "-" in line.split(" ", 1)[0]:
            wanted = line.endswith(name)
        elif wanted and line.startswith("Pss:"):
            total += int(line.split()[1]) * 1024
    return total


class Sampler(threading.Thread):
    """Watches how much memory of this process is of its own making, every 20 ms."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak: int | None = None
        self._over = threading.Event()

    def run(self) -> None:
        """Look until told to stop."""
        statm = Path("/proc/self/statm")
        while statm.exists() and not self._over.wait(0.02):
            _, resident, shared = statm.read_text().split()[:3]
            self.peak = max(self.peak or 0, (int(resident) - int(shared)) * os.sysconf("SC_PAGESIZE"))

    def stop(self) -> int | None:
        """The most that was seen, in bytes; None where it cannot be seen."""
        self._over.set()
        self.join()
        return self.peak
