"""How do building, asking, memory and starting grow with the number of vectors, beside FAISS alone?

Made-up vectors are written as a run writes them (`_indexed`), at ten thousand, a hundred thousand and a million. Beside
each stands one index of FAISS's over the same vectors, of the kind that most segments have, built with the same
parameters and asked with the same effort (`_beside`); nothing tunes it, and it holds no contract. Single queries of
both take turns on one thread, all queries in each of five rounds. An exponent is the slope of log time over log count
(least squares): ours may be larger than FAISS's by 0.05, which is noise. The memory of a build is the most that its
process holds of its own, with what it has imported and the 50,000 vectors that are made up at a time; pages of files,
which the system takes back when memory is short, are not counted.

    python -m benchmarks.growth [--sizes 10000 100000 1000000] [--dimension 256] [--keep DIR] [--figures FILE]

Then `parecido serve` is started on each store, with nothing in the model's place, and asked by vector until it answers:
from the start of the process to its first answer, files in the page cache and modules compiled, and beside it a process
that does nothing but import what a first answer needs; what few requests need is loaded afterwards. Memory is the
proportional set size (PSS) of the mapped indexes and vectors: of one worker and of two, each asked the same queries for
some seconds by 8 connections.
"""

from __future__ import annotations

import argparse
import math
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import faiss
import numpy as np

from benchmarks._beside import LIMIT, Bare, alone, in_turn, recall_beside, recall_of
from benchmarks._indexed import COLLECTION, Made, made
from benchmarks._machine import mapped
from benchmarks._processes import running, soon
from benchmarks.figures import Aim, Figure, add_option, figure, told
from benchmarks.load import load, post
from indexer.search import Asked, nearest
from indexer.segment import ANN, VECTORS
from indexer.snapshot import Snapshot, open_newest
from indexer.together import nearest_each
from indexer.vectors import Vectors

GROUP = "Growth"
ROUNDS = 5
SEARCH = f"/v1/collections/{COLLECTION}/search"
IMPORTS = "import uvicorn, uvloop, httptools, service.cli, service.app"
NOISE = 0.05
AIMS = {
    "start to first answer": Aim(
        "at most",
        1,
        "nearly all of it is the import of numpy, FAISS, Arrow, pydantic and uvicorn, of which the last goes on while "
        "FAISS reads a graph's links to see that none leads astray; next would be fewer of these modules",
    ),
    "two workers, of one": Aim("at most", 1.2),
    "larger by": Aim(
        "at most", NOISE, "a collection that is larger than one segment has several graphs, each of which is walked"
    ),
}


@dataclass
class Times:
    """What one size took."""

    build: float
    bare_build: float
    p50: list[float] = field(default_factory=list)
    """Of each round, in milliseconds; so are the others."""
    p99: list[float] = field(default_factory=list)
    bare_p50: list[float] = field(default_factory=list)
    bare_p99: list[float] = field(default_factory=list)


def ask(snapshot: Snapshot, bare: Bare, queries: Vectors, times: Times) -> None:
    """Put all queries to both, one thread for each, round by round."""
    rows = [queries[at : at + 1] for at in range(len(queries))]
    asked = [Asked(row, LIMIT) for row in rows]
    every = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    for turn in range(ROUNDS + 1):
        ours, theirs = in_turn(lambda at: nearest(snapshot, asked[at]), lambda at: bare.search(rows[at]), len(rows))
        if turn:  # the first made both warm
            for seconds, p50, p99 in ((ours, times.p50, times.p99), (theirs, times.bare_p50, times.bare_p99)):
                p50.append(statistics.median(seconds) * 1000)
                p99.append(float(np.quantile(seconds, 0.99)) * 1000)
    faiss.omp_set_num_threads(every)


def recalls(snapshot: Snapshot, bare: Bare, queries: Vectors) -> tuple[float, float]:
    """What is found of the ten nearest, by ours and by FAISS alone."""
    asked = [Asked(queries[at : at + 1], LIMIT) for at in range(len(queries))]
    best = nearest_each(snapshot, [replace(one, exact=True) for one in asked])
    return recall_of([nearest(snapshot, one) for one in asked], best), recall_beside(bare, snapshot, queries, best)


@contextmanager
def served(store: Path, workers: int) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """`parecido serve` as it starts, its port and its process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "benchmarks._modelless", "serve", "--port", str(port), "--store", str(store)]
    command += ["--workers", str(workers)]
    with running(command, stderr=subprocess.DEVNULL, env=_compiling()) as process:
        yield port, process


def first_answer(store: Path, query: Vectors) -> float:
    """Seconds from the start of the process on."""
    request = _request(query)
    began = time.perf_counter()
    with served(store, 1) as (port, _):
        while not _answered(port, request):
            time.sleep(0.002)
        return time.perf_counter() - began


def _answered(port: int, request: bytes) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(request)
            return connection.recv(1 << 16).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def _request(query: Vectors) -> bytes:
    return post(SEARCH, {"vector": query.astype(float).round(6).tolist(), "limit": LIMIT})


def imports() -> float:
    """Seconds of a process that imports what the service does."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", IMPORTS], check=True, env=_compiling())
    return time.perf_counter() - began


def _compiling() -> dict[str, str]:
    """The environment of a process that keeps its modules compiled, as those of an installed project are."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def memory(one: Made, workers: int, seconds: float) -> int:
    """Bytes of index and vectors that all workers hold together, once they were asked for a while."""
    requests = [_request(query) for query in one.queries]
    with served(one.store, workers) as (port, process):
        soon(lambda: _answered(port, requests[0]))
        time.sleep(3 * (workers - 1))  # each is ready by itself
        load("127.0.0.1", port, requests, 8, seconds * workers)
        below = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        held = [mapped(ANN, pid) + mapped(VECTORS, pid) for pid in (below if workers > 1 else [process.pid])]
    if workers != len(held) or not all(held):
        raise RuntimeError(f"Not every one of {workers} workers was asked: they hold {held} bytes.")
    return sum(held)


def serving(one: Made, count: int, seconds: float, times: int, largest: bool) -> list[Figure]:
    """How soon a service answers, and what its workers share."""
    aims = AIMS if largest else {}
    imports()  # the first may have to compile
    starts, alone = [first_answer(one.store, one.queries[0]) for _ in range(times)], [imports() for _ in range(times)]
    single, double = (memory(one, workers, seconds) for workers in (1, 2))
    what, group = f"{count:,} vectors", f"{GROUP}: serving"
    column = "two workers, of one"
    return [
        figure(group, what, "start to first answer", starts, "s", aims.get("start to first answer")),
        figure(group, what, "a process that only imports", alone, "s"),
        figure(group, what, "index and vectors (PSS), one worker", [single / 2**20], "MiB"),
        figure(group, what, column, [double / single], "", aims.get(column)),
    ]


def asking(one: Made, count: int) -> tuple[list[Figure], Times]:
    """What building and single queries take, and what a vector takes."""
    snapshot = open_newest(one.folder)
    bare, seconds = alone(snapshot)
    times = Times(one.seconds, seconds)
    ask(snapshot, bare, one.queries, times)
    on_disk = sum(file.bytes for entry in snapshot.generation.segments for file in entry.files.values())
    held = mapped(ANN) + mapped(VECTORS)
    ours, theirs = recalls(snapshot, bare, one.queries)
    kinds = sorted({entry.index.kind for entry in snapshot.generation.segments if entry.index})
    what = f"{count:,} vectors, {' and '.join(kinds)}"
    rows = {
        "Parecido": (times.build, times.p50, times.p99, ours),
        "one FAISS index": (seconds, times.bare_p50, times.bare_p99, theirs),
    }
    seen = []
    for who, (build, p50, p99, recall) in rows.items():
        seen.append(figure(f"{GROUP}: building and asking", f"{what}: {who}", "built in", [build], "s"))
        seen.append(figure(f"{GROUP}: building and asking", f"{what}: {who}", "query, p50", p50, "ms"))
        seen.append(figure(f"{GROUP}: building and asking", f"{what}: {who}", "query, p99", p99, "ms"))
        seen.append(figure(f"{GROUP}: building and asking", f"{what}: {who}", "recall", [recall]))
    seen.append(figure(f"{GROUP}: bytes a vector", what, "on disk, everything", [on_disk / count]))
    seen.append(figure(f"{GROUP}: bytes a vector", what, "index and vectors mapped (PSS)", [held / count]))
    return seen, times


def building(one: Made, count: int) -> list[Figure]:
    """What a build holds; none where the system does not tell."""
    if one.peak is None:
        return []
    what, group = f"{count:,} vectors", f"{GROUP}: memory of a build"
    share = one.peak / (count * one.queries[:1].nbytes)
    return [
        figure(group, what, "most of its own", [one.peak / 2**20], "MiB"),
        figure(group, what, "of the vectors", [share]),
    ]


def exponents(sizes: Sequence[int], times: Sequence[Times]) -> list[Figure]:
    """How building and asking grow."""
    counts = [math.log(size) for size in sizes]

    def slope(values: Sequence[float]) -> float:
        return float(np.polyfit(counts, np.log(values), 1)[0])

    build = [slope([one.build for one in times])], [slope([one.bare_build for one in times])]
    query = (
        [slope([one.p50[turn] for one in times]) for turn in range(ROUNDS)],
        [slope([one.bare_p50[turn] for one in times]) for turn in range(ROUNDS)],
    )
    seen = []
    for what, (ours, theirs) in {"building": build, "a single query, p50": query}.items():
        more = [mine - bare for mine, bare in zip(ours, theirs, strict=True)]
        seen.append(figure(f"{GROUP}: exponents", what, "Parecido", ours))
        seen.append(figure(f"{GROUP}: exponents", what, "one FAISS index", theirs))
        seen.append(figure(f"{GROUP}: exponents", what, "larger by", more, "", AIMS["larger by"]))
    return seen


def main() -> int:
    """Build and measure every size, then say how it grows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=(10_000, 100_000, 1_000_000))
    parser.add_argument("--dimension", type=int, default=256)
    parser.add_argument("--recall", type=float, default=0.95)
    parser.add_argument("--queries", type=int, default=512)
    parser.add_argument("--seconds", type=float, default=5.0, help="that each worker is asked (default: %(default)s)")
    parser.add_argument("--starts", type=int, default=3, help="of each service (default: %(default)s)")
    parser.add_argument("--keep", type=Path, help="keep the stores here, and take those that are there")
    add_option(parser)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what was started is ended
    sizes, every = sorted(options.sizes), []
    with tempfile.TemporaryDirectory(prefix="parecido-") as temporary:
        for count in sizes:
            one = made(options.keep or Path(temporary), count, options.dimension, options.recall, options.queries)
            told(options.figures, building(one, count))
            told(options.figures, serving(one, count, options.seconds, options.starts, count == sizes[-1]))
            seen, times = asking(one, count)
            told(options.figures, seen)
            every.append(times)
    if len(sizes) > 1:
        told(options.figures, exponents(sizes, every))
    return 0


if __name__ == "__main__":
    sys.exit(main())
