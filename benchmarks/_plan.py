"""Which benchmarks are there, and how are they run where all are?"""

from __future__ import annotations

import ast
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Job:
    """One benchmark with its arguments."""

    name: str
    """Under which it is asked for and kept: the benchmark's, with an addition where it is run twice."""
    arguments: tuple[str, ...]
    needs_texts: bool = False
    """Whether the arguments name the file of texts."""

    @property
    def benchmark(self) -> str:
        """Which script it is."""
        return self.name.partition("-")[0]

    @property
    def command(self) -> str:
        """What somebody types to run it alone."""
        return shlex.join(["python", "-m", "benchmarks", self.benchmark, *self.arguments])


def questions() -> dict[str, str]:
    """Each benchmark and the question it answers, the first line of its docstring."""
    files = sorted(path for path in FOLDER.glob("[!_]*.py"))
    docstrings = {path.stem: ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) for path in files}
    return {name: (text or "").partition("\n")[0] for name, text in docstrings.items()}


def plan(folder: Path, data: Path | None, texts: Path, small: bool) -> Sequence[Job]:
    """What is run, in this order.

    `data` is the user's file, `texts` that or one of what is on the machine. Together about 45 minutes on two idle
    cores, one or two if small.
    """
    if small:
        return (
            Job("embedding", (str(texts), "--texts", "200", "--parts", "2", "--starts", "1"), needs_texts=True),
            Job("small_runs", ("--items", "500", "--runs", "5", "--queries", "50")),
        )
    return (
        Job("embedding", (str(texts), "--texts", "4000"), needs_texts=True),
        Job("small_runs", ("--runs", "300")),
    )
