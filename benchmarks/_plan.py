"""Which benchmarks are there, and how are they run where all are?"""

from __future__ import annotations

import ast
import hashlib
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
MAKERS = ("_indexed", "_vectors", "memory", "stores")
"""The scripts that decide what is in a store."""


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
        """What somebody types to run it alone; of what lies elsewhere on this machine, its name is enough."""
        told = [Path(one).name if Path(one).is_absolute() else one for one in self.arguments]
        return shlex.join(["python", "-m", "benchmarks", self.benchmark, *told])


def questions() -> dict[str, str]:
    """Each benchmark and the question it answers, the first line of its docstring."""
    files = sorted(path for path in FOLDER.glob("[!_]*.py"))
    docstrings = {path.stem: ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) for path in files}
    return {name: (text or "").partition("\n")[0] for name, text in docstrings.items()}


def stores_of(folder: Path) -> Path:
    """Where stores are kept that were made by the code as it is now; another code makes its own."""
    digest = hashlib.sha256()
    for path in sorted([*(FOLDER.parent / "indexer").rglob("*.py"), *FOLDER.glob("*.py")]):
        if path.is_relative_to(FOLDER.parent / "indexer") or path.stem in MAKERS:
            digest.update(path.read_bytes())
    return folder / "stores" / digest.hexdigest()[:8]


def _which(data: Path | None) -> str:
    if data is None:
        return "made-up"
    found = data.stat()
    return hashlib.sha256(f"{data.resolve()} {found.st_size} {found.st_mtime_ns}".encode()).hexdigest()[:8]


def plan(folder: Path, data: Path | None, texts: Path, small: bool) -> Sequence[Job]:
    """What is run, in this order; stores that several ask are kept in the folder.

    `data` is the user's file, `texts` that or one of what is on the machine. Together they take an hour or more;
    where small, minutes, and peers are asked only once they are installed.
    """
    stores = str(stores_of(folder))
    asked = str(stores_of(folder) / f"asked-{_which(data)}")
    of_user = ("--data", str(data)) if data else ()
    if small:
        return _small(texts, stores, asked, of_user)
    made_up, sizes = ("--dimension", "256", "--keep", stores), ("10000", "100000", "1000000")
    return (
        Job("embedding", (str(texts), "--texts", "4000"), needs_texts=True),
        Job("ann", (*made_up, "--sizes", *sizes, "300000")),
        Job("ann-compact", (*made_up, "--sizes", "1000000", "--budget", "0.6")),
        Job("kinds", ()),
        Job("growth", (*made_up, "--sizes", *sizes)),
        Job("http", ("--store", asked, *of_user, "--items", "39000")),
        Job("ann-asked", ("--store", asked)),
        Job("peers", ("--store", asked, *of_user)),
        Job("publishing", ("--items", "200000")),
        Job("small_runs", ("--runs", "300")),
    )


def _small(texts: Path, stores: str, asked: str, of_user: Sequence[str]) -> Sequence[Job]:
    tiny = ("--items", "500", "--rounds", "1", "--seconds", "0.5")
    few = ("--queries", "100", "--workers", "2", "--connections", "8")
    thin = ("--dimension", "64", "--keep", stores)
    quick = ("--queries", "64", "--seconds", "0.5", "--starts", "1")
    jobs = (
        Job("embedding", (str(texts), "--texts", "200", "--parts", "2", "--starts", "1"), needs_texts=True),
        Job("ann", (*thin, "--sizes", "2000", "40000", "--queries", "64")),
        Job("ann-compact", (*thin, "--sizes", "40000", "--budget", "1.4", "--queries", "64")),
        Job("kinds", ("--dimension", "64", "--sizes", "2000", "--queries", "64")),
        Job("growth", (*thin, "--sizes", "2000", "40000", *quick)),
        Job("http", ("--store", asked, *of_user, *tiny, *few)),
        Job("ann-asked", ("--store", asked, "--queries", "64")),
        Job("publishing", ("--items", "2000", "--swaps", "1", "--seconds", "0.5")),
        Job("small_runs", ("--items", "500", "--runs", "5", "--queries", "50")),
    )
    installed = (FOLDER / "peer_servers" / ".venv").exists()
    return (*jobs, Job("peers", ("--store", asked, *of_user, *tiny))) if installed else jobs
