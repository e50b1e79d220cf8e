"""What is kept of a benchmark's last run?

Two files in one folder: NAME.json, a `Run`, and NAME.jsonl, the figures. A run that is under way or did not come to its
end writes NAME.next.json and NAME.next.jsonl; it takes the place of the one before once it has ended, or where there is
none. So nothing that was measured is lost by a later try that fails.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from benchmarks import figures
from benchmarks.figures import Figure

CRASHED = 3
"""Exit code of a benchmark that failed, unlike one that found a promise not kept."""
UNKEPT = 1
NEXT = ".next"


@dataclass(frozen=True)
class Run:
    """How and where a benchmark was run."""

    name: str
    command: str
    began: str
    """Date and time, UTC."""
    machine: Mapping[str, str]
    load: float
    """Load average of the minute before."""
    busy: float | None
    """Cores that others kept busy right before; None where the system does not tell."""
    seconds: float | None = None
    code: int | None = None
    """Of its end; None where it was killed, or goes on."""

    @property
    def ended(self) -> bool:
        """Whether it came to its end, and all figures are there."""
        return self.code in (0, UNKEPT)

    @property
    def ending(self) -> str:
        """How it ended, for people: what follows `ended`."""
        if self.code is None:
            return "not: it goes on, or was killed with what started it"
        if self.code < 0:
            return f"by {signal.Signals(-self.code).name}"
        said = {0: "all promises kept", UNKEPT: "a promise not kept"}
        return f"with code {self.code}: {said.get(self.code, 'it failed')}"


@dataclass(frozen=True)
class Kept:
    """What is known of a benchmark."""

    run: Run
    figures: Sequence[Figure]
    failed: Run | None
    """A later try that came to no figures, or not to all."""


def figures_of(folder: Path, name: str) -> Path:
    """The file that a run which begins writes its figures to."""
    return folder / f"{name}{NEXT}.jsonl"


def note(folder: Path, run: Run) -> None:
    """Write down a run that begins, or has ended."""
    path = folder / f"{run.name}{NEXT}.json"
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_bytes(orjson.dumps(asdict(run), option=orjson.OPT_INDENT_2))
    unfinished.replace(path)


def settle(folder: Path, name: str) -> None:
    """Put a run that has ended, or was killed, in the place of the one before, where it is to be."""
    run, found = _run(folder, name + NEXT), figures_of(folder, name)
    before = _run(folder, name)
    if run and found.exists() and (run.ended or before is None or not before.ended):
        found.replace(folder / f"{name}.jsonl")
        (folder / f"{name}{NEXT}.json").replace(folder / f"{name}.json")


def begin(folder: Path, run: Run) -> None:
    """Write down that a run begins, with no figures yet."""
    settle(folder, run.name)
    figures_of(folder, run.name).unlink(missing_ok=True)
    note(folder, run)


def read(folder: Path, name: str) -> Kept | None:
    """What is kept under a name; None where nothing is."""
    settle(folder, name)
    run, failed, path = _run(folder, name), _run(folder, name + NEXT), folder / f"{name}.jsonl"
    if run is None:
        return Kept(failed, (), failed) if failed else None
    return Kept(run, figures.read(path), failed)


def _run(folder: Path, name: str) -> Run | None:
    path = folder / f"{name}.json"
    return Run(**orjson.loads(path.read_bytes())) if path.exists() else None
