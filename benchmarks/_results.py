"""How does RESULTS.md show what all benchmarks saw?

A pure function of what is kept: the machine, the aims with what was seen, then for each benchmark its command and a
table a group of figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks._kept import Kept, Run
from benchmarks.figures import Figure

QUIET = 0.2
"""Cores that others may keep busy where a machine counts as idle."""


@dataclass(frozen=True)
class Shown:
    """One benchmark."""

    name: str
    question: str
    kept: Kept | None
    """None where it was not run yet."""


def results(every: Sequence[Shown]) -> str:
    """The whole file."""
    there = [shown for shown in every if shown.kept]
    runs = [shown.kept.run for shown in there if shown.kept]
    figures = [figure for shown in there if shown.kept for figure in shown.kept.figures]
    lines = [
        "# Results",
        "",
        "`make bench` writes this file of what each benchmark saw with the command that stands beside it, and",
        "[README.md](README.md) says what each does. A figure is the median of its rounds, with the least and the",
        "greatest; what is compared took turns on the same machine.",
        "",
        *_machine(runs),
        *_aims(figures),
        *_runs(every),
    ]
    for shown in there:
        lines += _benchmark(shown)
    return "\n".join(lines).rstrip() + "\n"


def _machine(runs: Sequence[Run]) -> list[str]:
    names = dict.fromkeys(name for run in runs for name in run.machine)
    rows = [[name, "; ".join(dict.fromkeys(run.machine.get(name, "none") for run in runs))] for name in names]
    return ["## Machine", "", *_table(["", ""], rows), ""]


def _aims(figures: Sequence[Figure]) -> list[str]:
    rows = []
    for one in figures:
        if one.aim:
            met = one.aim.met(one.median)
            why = "" if met else one.aim.otherwise or "not looked into yet"
            aim = f"{one.aim.sense} {one.aim.bound:,g}{_with(one.unit)}"
            rows.append([f"{one.group}: {one.what}, {one.column}", aim, _seen(one, True), _yes(met), why])
    met_by = sum(row[3] == _yes(True) for row in rows)
    head = ["figure", "aim", "seen", "met", "why not, and what is next"]
    return ["## Aims", "", f"{met_by} of {len(rows)} are met.", "", *_table(head, rows), ""]


def _runs(every: Sequence[Shown]) -> list[str]:
    """When each was run, and what else the machine did."""
    rows = []
    for shown in every:
        for run in _tries(shown.kept) if shown.kept else ():
            took = f"{run.seconds:.0f} s" if run.seconds is not None else "?"
            busy = "unknown" if run.busy is None else f"{run.busy:.2f} cores"
            idle = "unknown" if run.busy is None else _yes(run.busy <= QUIET)
            rows.append([shown.name, run.began, took, run.ending, idle, busy, f"{run.load:.2f}"])
        if not shown.kept:
            rows.append([shown.name, "not run yet", "", "", "", "", ""])
    head = ["benchmark", "began (UTC)", "took", "ended", "idle", "busy right before", "load average"]
    told = (
        f"A machine counts as idle where others keep {QUIET:g} cores or less busy in the two seconds before. The load"
    )
    more = "average is that of the minute before, in which the last benchmark may have ended."
    return ["## Runs", "", told, more, "", *_table(head, rows), ""]


def _tries(kept: Kept) -> list[Run]:
    later = kept.failed if kept.failed != kept.run else None
    return [kept.run, *([later] if later else [])]


def _benchmark(shown: Shown) -> list[str]:
    kept = shown.kept
    if kept is None:
        return []
    lines = [f"## {shown.name}", "", shown.question, "", f"    {kept.run.command}", ""]
    if not kept.run.ended:
        lines += [f"It ended {kept.run.ending}, so that figures may be missing.", ""]
    elif kept.failed:
        lines += [f"The figures are of an earlier run; the last one ended {kept.failed.ending}.", ""]
    groups: dict[str, list[Figure]] = {}
    for one in kept.figures:
        groups.setdefault(one.group, []).append(one)
    for name, figures in groups.items():
        lines += [f"### {name}", "", *_group(figures), ""]
    return lines


def _group(figures: Sequence[Figure]) -> list[str]:
    """A row for each thing, a column for each of its figures; a unit that all of a column have stands at its head."""
    columns = dict.fromkeys(one.column for one in figures)
    units = {column: {one.unit for one in figures if one.column == column} for column in columns}
    heads = [_head(column, units[column]) for column in columns]
    cells: dict[str, dict[str, Figure]] = {}
    for one in figures:
        cells.setdefault(one.what, {})[one.column] = one
    rows = [
        [
            what,
            *(_seen(row[name], not _common(units[name])) if name in row else "" for name in columns),
            ", ".join(dict.fromkeys(str(one.rounds) for one in row.values())),
        ]
        for what, row in cells.items()
    ]
    return _table(["", *heads, "rounds"], rows)


def _head(column: str, units: set[str]) -> str:
    if not _common(units):
        return column
    unit = next(iter(units))
    return f"{column}{unit}" if unit.startswith("/") else f"{column}, {unit}"


def _common(units: set[str]) -> bool:
    return len(units) == 1 and units != {""}


def _seen(one: Figure, unit: bool) -> str:
    told = _number(one.median) + (_with(one.unit) if unit else "")
    return told if one.rounds == 1 else f"{told} ({_number(one.least)} to {_number(one.most)})"


def _with(unit: str) -> str:
    """A unit as it follows a number: after a space, but for one that is a rate."""
    return unit if not unit or unit[0] in "/%" else f" {unit}"


def _number(value: float) -> str:
    """Three digits or more; so many behind the point that one can tell a share from 1."""
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    if 0.9 < abs(value) < 1:
        return f"{value:.6f}" if abs(value) >= 0.9995 else f"{value:.4f}"
    places = 0 if abs(value) >= 1000 else 1 if abs(value) >= 100 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{places}f}" if abs(value) >= 0.0995 else f"{value:.2g}"


def _yes(holds: bool) -> str:
    return "yes" if holds else "**no**"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
