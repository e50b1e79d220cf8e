"""Which processes does a benchmark ask, are they ready, and how much memory do they take?

Each that is started here is ended here, with all that it started in its own group, however the benchmark ends.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

Found = TypeVar("Found")

ENDS_WITHIN = 30
"""Seconds that a process has to end by itself."""


@contextlib.contextmanager
def service(store: Path, workers: int, log: Path) -> Iterator[int]:
    """`parecido serve`, ready, and its port."""
    with serving_ours(store, workers, log) as (port, _):
        yield port


@contextlib.contextmanager
def serving_ours(store: Path, workers: int, log: Path) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """`parecido serve`, ready: its port and its process."""
    command = [sys.executable, "-m", "service", "serve", "--port", "0", "--store", str(store)]
    command += ["--workers", str(workers)] if workers > 1 else []
    with log.open("wb") as out, running(command, stderr=out) as process:
        port = soon(lambda: _port_in(log))
        soon(lambda: answers(f"http://127.0.0.1:{port}/readyz"))
        time.sleep(3 * (workers - 1))  # each worker is ready by itself
        yield port, process


@contextlib.contextmanager
def running(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A process of its own group, until it is not needed any more."""
    process = subprocess.Popen(command, start_new_session=True, **options)
    try:
        yield process
    finally:
        _signal(process, signal.SIGTERM)
        try:
            process.wait(ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            _signal(process, signal.SIGKILL)
            process.wait()


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def soon(found: Callable[[], Found | None], within: float = 120) -> Found:
    """What is found, as soon as it is there."""
    end = time.monotonic() + within
    while not (value := found()):
        if time.monotonic() > end:
            raise TimeoutError(f"A server did not come up within {within:.0f} seconds.")
        time.sleep(0.05)
    return value


def answers(url: str) -> bool:
    """Whether a server answers there."""
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _port_in(log: Path) -> int | None:
    match = re.search(r" on http://[^ ]*:(\d+), docs on", log.read_text(encoding="utf-8"))
    return int(match[1]) if match else None


def memory(*roots: int) -> int:
    """Bytes of resident memory of these processes and all below them; a page that several share counts once."""
    return sum(map(_share_of_memory, _with_all_below(roots)))


def _with_all_below(roots: Sequence[int]) -> set[int]:
    parents = {int(entry.name): _parent(entry) for entry in Path("/proc").iterdir() if entry.name.isdigit()}
    found, new = set[int](), set(roots)
    while new:
        found |= new
        new = {child for child, parent in parents.items() if parent in new} - found
    return found


def _parent(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:  # it has ended meanwhile
        return 0


def _share_of_memory(process: int) -> int:
    try:
        rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
    except OSError:
        return 0
    match = re.search(r"^Pss: +(\d+) kB", rollup, re.MULTILINE)
    return int(match[1]) * 1024 if match else 0
