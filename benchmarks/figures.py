"""What did a benchmark see, in a form that others can read?

A benchmark prints for people, and with `--figures FILE` appends what it saw to that file as well, one line of JSON a
figure. `python -m benchmarks all` gathers these lines into RESULTS.md.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import orjson


@dataclass(frozen=True)
class Aim:
    """What a figure should be."""

    sense: Literal["at least", "at most"]
    bound: float
    otherwise: str = ""
    """Why it may be missed, as far as is known, and what would be tried next."""

    def met(self, value: float) -> bool:
        """Whether a figure is as it should be."""
        return value >= self.bound if self.sense == "at least" else value <= self.bound


@dataclass(frozen=True)
class Figure:
    """One thing that was measured."""

    group: str
    """What it belongs to: the heading of its table."""
    what: str
    """The thing, within its group: the name of its row."""
    column: str
    """Which of the row's figures."""
    unit: str
    """Of all values; empty for a ratio or a share."""
    median: float
    least: float
    most: float
    rounds: int
    """How many values these three are of."""
    aim: Aim | None = None


def figure(
    group: str, what: str, column: str, values: Sequence[float], unit: str = "", aim: Aim | None = None
) -> Figure:
    """The figure that some rounds come to."""
    return Figure(group, what, column, unit, statistics.median(values), min(values), max(values), len(values), aim)


def add_option(parser: argparse.ArgumentParser) -> None:
    """Let the user name the file."""
    parser.add_argument("--figures", type=Path, metavar="FILE", help="append what was seen to FILE, as JSON Lines")


def append(path: Path | None, figures: Sequence[Figure]) -> None:
    """Write the figures at the end of the file; do nothing where the user named none."""
    if path is not None:
        with path.open("ab") as file:
            file.writelines(orjson.dumps(one) + b"\n" for one in figures)


def told(path: Path | None, figures: Sequence[Figure]) -> None:
    """Print figures for people, and append them to the file."""
    for one in figures:
        spread = f" ({one.least:,.4g} to {one.most:,.4g})" if one.rounds > 1 else ""
        print(f"{one.what}: {one.column} {one.median:,.4g} {one.unit}{spread}", flush=True)
    append(path, figures)


def read(path: Path) -> list[Figure]:
    """All figures of a file."""
    found = []
    for line in path.read_bytes().splitlines():
        row = orjson.loads(line)
        found.append(Figure(**{**row, "aim": Aim(**row["aim"]) if row["aim"] else None}))
    return found
