"""What do all benchmarks together say of this machine?

Each runs in its own process, one after the other. What it saw is kept in a folder, with its command, its seconds and
the versions of what was measured, and after each one RESULTS.md is written from all that is kept there: an interruption
loses nothing that was measured before, and some can be run again while the others' figures stay.

    python -m benchmarks all [--data FILE] [--only NAME ...] [--small] [--folder DIR] [--results FILE]

FILE is JSON Lines with `id`, `title`, `text` and metadata. Without it texts are Python's own documentation, and items
of stores are made up. `--only` without a name runs none and writes RESULTS.md from what is kept. `--small` shows that
everything works, in some minutes; it keeps and writes apart. With code 1 it leaves where one of those that were run
failed or found a promise not kept.

The folder holds stores as well, about 4 GB, so that two benchmarks can ask the same and a second run takes less time;
they are made anew where the code that makes them has changed, and may be deleted at any time.
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import orjson

from benchmarks import _kept
from benchmarks._kept import Kept, Run
from benchmarks._machine import busy, load_average, machine
from benchmarks._plan import FOLDER, Job, plan, questions, stores_of
from benchmarks._results import Shown, results
from benchmarks.figures import Aim, Figure
from indexer.demo import write_corpus

TIME_TO_END = 40
"""Seconds that a benchmark has to end its servers."""


def run(job: Job, folder: Path) -> Run:
    """Run one to its end, however that is, and keep what it saw."""
    began = time.monotonic()
    at = f"{datetime.now(UTC):%Y-%m-%d %H:%M}"
    one = Run(job.name, job.command, at, machine(), load_average(), busy())
    _kept.begin(folder, one)
    print(f"\n$ {job.command}", flush=True)
    command = [sys.executable, "-m", "benchmarks", job.benchmark, *job.arguments]
    process = subprocess.Popen([*command, "--figures", str(_kept.figures_of(folder, job.name))])
    try:
        process.wait()
    finally:
        _end(process)
        one = replace(one, seconds=time.monotonic() - began, code=process.returncode)
        _kept.note(folder, one)
        _kept.settle(folder, job.name)
    print(f"# {job.name} ended {one.ending}, {one.seconds:.0f} s", flush=True)
    return one


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(TIME_TO_END)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def write(jobs: Sequence[Job], folder: Path, path: Path) -> None:
    """RESULTS.md, from what is kept."""
    known = questions()
    every = [
        Shown(job.name, known.get(job.benchmark, ""), _with_aims_of_today(job.benchmark, _kept.read(folder, job.name)))
        for job in jobs
    ]
    path.write_text(results(every), encoding="utf-8")


def _with_aims_of_today(benchmark: str, kept: Kept | None) -> Kept | None:
    """What is kept, with the aims that stand in the benchmark now: their reasons are written after the run."""
    if kept is None:
        return None
    try:
        aims = getattr(importlib.import_module(f"benchmarks.{benchmark}"), "AIMS", {})
    except ImportError:
        return kept
    return replace(kept, figures=[_aimed(one, aims) for one in kept.figures])


def _aimed(one: Figure, aims: Mapping[str, Aim]) -> Figure:
    return replace(one, aim=aims.get(f"{one.what}: {one.column}", aims.get(one.column, one.aim))) if one.aim else one


def write_texts(path: Path) -> None:
    """Python's documentation, with titles, unless it is there."""
    if path.exists():
        return
    write_corpus(path.with_suffix(".corpus"))
    lines = []
    for line in path.with_suffix(".corpus").read_bytes().splitlines():
        item = orjson.loads(line)
        title, _, text = item["text"].partition("\n\n")
        lines.append(orjson.dumps({**item, "title": title, "text": text}) + b"\n")
    path.write_bytes(b"".join(lines))
    path.with_suffix(".corpus").unlink()


def main() -> int:
    """Run what is wanted, and write the file after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="JSON Lines of id, title, text and metadata")
    parser.add_argument("--folder", type=Path, help="what is kept (default: benchmarks/.figures)")
    parser.add_argument("--results", type=Path, help="(default: benchmarks/RESULTS.md; with --small in the folder)")
    parser.add_argument("--only", nargs="*", metavar="NAME", help="run these alone, or none")
    parser.add_argument("--small", action="store_true", help="take everything small, to see that it works")
    options = parser.parse_args()
    folder = _shown(options.folder or FOLDER / ".figures" / ("small" if options.small else ""))
    folder.mkdir(parents=True, exist_ok=True)
    texts = options.data or folder / "python.jsonl"
    jobs = plan(folder, options.data, texts, options.small)
    if unknown := {*(options.only or ())} - {job.name for job in jobs}:
        parser.error(f"There is no {', '.join(sorted(unknown))}; there is {', '.join(job.name for job in jobs)}.")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    path = options.results or (folder if options.small else FOLDER) / "RESULTS.md"
    wanted = [job for job in jobs if options.only is None or job.name in options.only]
    return _run_all(jobs, wanted, folder, texts, path)


def _run_all(jobs: Sequence[Job], wanted: Sequence[Job], folder: Path, texts: Path, path: Path) -> int:
    if any(job.needs_texts for job in wanted):
        write_texts(texts)
    for old in {*(folder / "stores").glob("*")} - {stores_of(folder)} if wanted else ():
        shutil.rmtree(old)
    ended = []
    try:
        for job in wanted:
            ended.append(run(job, folder))
            write(jobs, folder, path)
    finally:
        write(jobs, folder, path)
        for one in ended:
            print(f"{one.name:<14}{one.seconds:>6.0f} s, ended {one.ending}")
        print(f"{path} is written from {folder}.", flush=True)
    return int(any(one.code for one in ended))


def _shown(path: Path) -> Path:
    """As short as can be from here, for commands that people read."""
    here = Path.cwd()
    return path.resolve().relative_to(here) if path.resolve().is_relative_to(here) else path


if __name__ == "__main__":
    sys.exit(main())
