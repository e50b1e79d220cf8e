"""How does a peer come up: installed, filled, and ready to be asked?

What a peer needs is installed from `peer_servers/requirements.txt` into a virtual environment that is kept, so that
the next run finds it. Whatever goes wrong is raised as NotMeasured, which says why.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from benchmarks._peers import Peer
from benchmarks._processes import answers, memory, running, soon
from indexer.config import DEFAULT_MODEL
from indexer.models.files import describe

SERVERS = Path(__file__).parent / "peer_servers"
FILLS_WITHIN = 300


class NotMeasured(Exception):
    """A peer could not be measured; the message says why."""


@dataclass(frozen=True)
class Filled:
    """A peer that holds the data."""

    about: str
    """Its name and version."""
    seconds: float
    path: str


@dataclass(frozen=True)
class Serving:
    """A peer that can be asked."""

    port: int
    process: subprocess.Popen[bytes]
    folder: Path

    def memory(self) -> int:
        """Bytes, see `_processes`; PostgreSQL leaves the process that starts it, and says in a file which it is."""
        apart = [int(file.read_text().split()[0]) for file in self.folder.glob("*/postmaster.pid")]
        return memory(self.process.pid, *apart)


def requirements(peer: str) -> list[str]:
    """What stands below the peer's heading."""
    text = (SERVERS / "requirements.txt").read_text(encoding="utf-8")
    sections = re.split(r"^# \[(\w+)\]$", text, flags=re.MULTILINE)
    return dict(zip(sections[1::2], sections[2::2], strict=True))[peer].split()


def install(peer: Peer, venv: Path) -> float:
    """Install what the peer needs, unless it is there; returns the seconds that took."""
    wanted, stamp = requirements(peer.name), venv / f"installed-{peer.name}"
    if stamp.exists() and stamp.read_text(encoding="utf-8").split() == wanted:
        return 0.0
    began = time.perf_counter()
    if not (venv / "bin" / "python").exists():
        _carry_out([sys.executable, "-m", "venv", str(venv)])
    _carry_out(
        [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted]
    )
    stamp.write_text("\n".join(wanted), encoding="utf-8")
    return time.perf_counter() - began


def _carry_out(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise NotMeasured(f"It cannot be installed: {_last_line(done.stderr)}")


def fill(peer: Peer, venv: Path, data: Path, folder: Path) -> Filled:
    """Put the data into the peer's own folder."""
    log = folder.with_suffix(".log")
    with (
        log.open("ab") as errors,
        _script(peer, venv, "fill", data, folder, stdout=subprocess.PIPE, stderr=errors) as p,
    ):
        try:
            said, _ = p.communicate(timeout=FILLS_WITHIN)
        except subprocess.TimeoutExpired as error:
            raise NotMeasured(f"It was not filled within {FILLS_WITHIN} seconds.") from error
    if p.returncode:
        raise NotMeasured(f"It cannot be filled: {_last_line(log.read_text(encoding='utf-8'))}")
    answer = orjson.loads(said.splitlines()[-1])
    return Filled(answer["about"], answer["seconds"], answer.get("path", peer.path))


@contextlib.contextmanager
def serving(peer: Peer, venv: Path, folder: Path) -> Iterator[Serving]:
    """The peer over its folder, ready."""
    port, log = _free_port(), folder.with_suffix(".log")
    with log.open("ab") as out, _script(peer, venv, "serve", folder, port, stdout=out, stderr=out) as process:
        url = f"http://127.0.0.1:{port}{peer.ready}"
        try:
            soon(lambda: process.poll() is not None or answers(url))
        except TimeoutError as error:
            raise NotMeasured(str(error)) from error
        if process.poll() is not None:
            raise NotMeasured(f"It does not start: {_last_line(log.read_text(encoding='utf-8'))}")
        yield Serving(port, process, folder)


def _script(peer: Peer, venv: Path, *arguments: object, **options: Any) -> contextlib.AbstractContextManager[Any]:
    """The peer's script; it sees the model's folder, and nothing of Parecido's packages."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"MODEL": str(describe(DEFAULT_MODEL).folder), "HF_HUB_OFFLINE": "1"}
    command = [venv / "bin" / "python", SERVERS / f"serve_{peer.name}.py", *arguments]
    return running([str(part) for part in command], env=environment, **options)


def _free_port() -> int:
    with socket.socket() as any_free:
        any_free.bind(("127.0.0.1", 0))
        return int(any_free.getsockname()[1])


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("WARNING")]
    return lines[-1] if lines else "it says nothing."
