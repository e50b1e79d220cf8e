"""Does somebody who asks notice that a new generation is published?

`parecido serve` answers 8 connections that ask by vector, from a store of made-up items (`stores`). In turns there are
windows of rest, and windows in which a whole new generation is published, as large as the one before: the service
notices it, opens it, compares all checksums, warms it and swaps it in. Its segments are written beforehand, so that
what is measured is taking it up. A window is little longer than that takes. The aim is a 99th percentile of less than
twice that at rest, which is the mean of the window before and the one after.

    python -m benchmarks.publishing [--items 200000] [--swaps 5] [--seconds 1] [--store DIR] [--figures FILE]

Then one item in a hundred changes, and the run of the indexer that embeds it, with the real model and on the same
cores, is watched in windows of the same length. With code 1 it leaves where an answer failed.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import orjson

from benchmarks._processes import running, service, soon
from benchmarks.figures import Aim, Figure, add_option, figure, told
from benchmarks.http import SEARCH, by_vector
from benchmarks.load import Outcome, load
from benchmarks.stores import COLLECTION, make
from indexer import generation as generations
from indexer import storage
from indexer.generation import Generation
from indexer.storage import CollectionFolder, collection_folder

GROUP = "While something is published"
CONNECTIONS = 8
LEAD = 0.4
"""Seconds that a load may take to begin."""
TRIES = 5
AIMS = {"p99, of that at rest": Aim("at most", 2)}
CHANGED = 100
"""One item in so many changes."""
INDEX = """
import sys
from pathlib import Path
from benchmarks.stores import COLLECTION
from indexer.build import build
from indexer.config import CollectionSettings
from indexer.progress import progress
store, source = map(Path, sys.argv[1:])
build(store, COLLECTION, CollectionSettings(source=(str(source),), text=("title", "text")), progress(COLLECTION))
"""

Load = Callable[[float], Outcome]
"""Asks for so many seconds."""


@dataclass
class Windows:
    """What the windows of each kind came to."""

    rest: list[Outcome] = field(default_factory=list)
    """One before each swap, and one after the last."""
    swap: list[Outcome] = field(default_factory=list)
    index: list[Outcome] = field(default_factory=list)
    taken: list[float] = field(default_factory=list)
    """Seconds from publishing a generation until it answers."""

    @property
    def failures(self) -> int:
        """Answers that were none."""
        return sum(one.failures for one in (*self.rest, *self.swap, *self.index))


def aside(folder: CollectionFolder) -> Generation:
    """The next generation, with segments of its own and the content of the current one; nobody sees it yet."""
    current = generations.current(folder)
    entries = []
    for entry in current.segments:
        copy = replace(entry, id=f"{current.number + 1:06d}-{secrets.token_hex(4)}")
        shutil.copytree(folder.segments / entry.id, folder.segments / copy.id)
        entries.append(copy)
    os.sync()  # or the disk is busy with it while the service is watched
    return replace(
        current, number=current.number + 1, created_at=datetime.now(UTC), segments=tuple(entries), deleted={}
    )


def swap(folder: CollectionFolder, generation: Generation, log: Path) -> float:
    """Publish it, and the seconds until the service answers from it."""
    began = time.monotonic()
    with storage.lock(folder):
        generations.publish(folder, generation)
    soon(lambda: f"serving generation {generation.number}" in log.read_text(encoding="utf-8"))
    return time.monotonic() - began


def watched_swap(folder: CollectionFolder, log: Path, ask: Load, seconds: float) -> tuple[Outcome, float]:
    """A window with a whole swap in it, and how long that took; raises RuntimeError where it never fits."""
    for _ in range(TRIES):
        generation = aside(folder)
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(_timed, ask, seconds)
            time.sleep(LEAD)
            published = time.monotonic()
            taken = swap(folder, generation, log)
            swapped = time.monotonic()
            outcome, ended = asked.result()
        if ended - outcome.seconds <= published and swapped <= ended:
            return outcome, taken
        seconds *= 1.3
    raise RuntimeError(f"A generation was not taken up within {seconds / 1.3:.1f} seconds, {TRIES} times in a row.")


def _timed(ask: Load, seconds: float) -> tuple[Outcome, float]:
    return ask(seconds), time.monotonic()


def turns(folder: CollectionFolder, log: Path, ask: Load, swaps: int, least: float) -> tuple[Windows, float]:
    """Rest and swaps by turns, and how long a window was."""
    windows = Windows()
    ask(least)
    first = swap(folder, aside(folder), log)  # not counted: it says how long a window has to be
    seconds = max(least, 1.2 * first + 2 * LEAD)
    for _ in range(swaps):
        windows.rest.append(ask(seconds))
        outcome, taken = watched_swap(folder, log, ask, seconds)
        windows.swap.append(outcome)
        windows.taken.append(taken)
        time.sleep(1)
    windows.rest.append(ask(seconds))
    return windows, seconds


def change(source: Path) -> None:
    """One item in a hundred gets another text."""
    rows = [orjson.loads(line) for line in source.read_bytes().splitlines()]
    for row in rows[::CHANGED]:
        row["text"] = f"{row['text']} Changed."
    source.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))


def while_indexing(store: Path, ask: Load, seconds: float) -> Iterator[Outcome]:
    """Windows while a run of the indexer embeds what has changed; the last may go on after it."""
    source = store / "items.jsonl"
    change(source)
    command = [sys.executable, "-c", INDEX, str(store), str(source)]
    with running(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            yield ask(seconds)
        if process.returncode:
            raise RuntimeError(f"The run of the indexer ended with code {process.returncode}.")


def figures(windows: Windows) -> list[Figure]:
    """Times and rates of each kind of window, and ratios to rest."""
    kinds = {
        "at rest": windows.rest,
        "a generation is taken up": windows.swap,
        f"a run embeds 1 item in {CHANGED} on the same cores": windows.index[:-1] or windows.index,
    }
    seen = []
    for what, outcomes in kinds.items():
        if outcomes:
            seen.append(figure(GROUP, what, "answers", [one.rate for one in outcomes], "/s"))
            seen.append(figure(GROUP, what, "p50", [one.p50 for one in outcomes], "ms"))
            seen.append(figure(GROUP, what, "p99", [one.p99 for one in outcomes], "ms"))
    _, swapping, indexing = kinds
    rest = [one.p99 for one in windows.rest]
    beside = [2 * one.p99 / (rest[at] + rest[at + 1]) for at, one in enumerate(windows.swap)]
    (column, aim), quiet = next(iter(AIMS.items())), statistics.median(rest)
    seen.append(figure(GROUP, swapping, column, beside, "", aim))
    seen.append(figure(GROUP, swapping, "until it answers", windows.taken, "s"))
    if kinds[indexing]:
        seen.append(figure(GROUP, indexing, column, [one.p99 / quiet for one in kinds[indexing]]))
    return seen


def main() -> int:
    """Serve, publish, watch."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=200_000, help="(default: %(default)s)")
    parser.add_argument("--swaps", type=int, default=5, help="generations that are published (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of a window, at least (default: %(default)s)")
    parser.add_argument("--store", type=Path, help="folder for the store, which is changed (default: a temporary one)")
    add_option(parser)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what was started is ended
    with tempfile.TemporaryDirectory(prefix="parecido-") as temporary:
        store, log = options.store or Path(temporary) / "store", Path(temporary) / "log"
        asked = make(store, None, options.items, queries=1_000)
        requests = by_vector(asked, SEARCH)()
        generation = asked.snapshot.generation
        print(f"{generation.counts.items:,} items, {len(generation.segments)} segments", flush=True)
        folder = collection_folder(store, COLLECTION)
        with service(store, 1, log) as port:
            ask = partial(load, "127.0.0.1", port, requests, CONNECTIONS)
            windows, seconds = turns(folder, log, ask, options.swaps, options.seconds)
            windows.index += while_indexing(store, ask, seconds)
        told(options.figures, figures(windows))
    return int(windows.failures > 0)


if __name__ == "__main__":
    sys.exit(main())
