"""How fast is the service over HTTP, beside what is under it?

The service, with one worker or more, is asked by a closed loop of 1, 8 and 32 connections (`load`): by vector, by
vector with filters that 1 %, 10 % and 50 % of the items pass, by text. Beside it stands what `floor` has: a bare
FastAPI echo of the same body, a bare Starlette endpoint over the same FAISS index with the same metadata, filters and
model, and the model alone. All run at once and are asked in turn, round by round, so that a change of the machine's
mood meets all; a figure is the median of the rounds, with the least and the greatest.

    python -m benchmarks.http [--store DIR] [--data FILE] [--items N] [--workers 1 2] [--rounds 5] [--seconds 2]

Without --data the items are made up, see `stores`. The same --queries are asked round and round, so that the service
has shown most hits before and keeps them as JSON; the bare endpoint holds all hits as objects. Recall is the share of
the exact ten nearest that is found, with ties. It leaves with code 1 where an answer failed, or recall is under 0.99.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import numpy as np
import orjson

from benchmarks._beside import SHARES
from benchmarks._exact import Exact
from benchmarks._processes import answers, running, service, soon
from benchmarks._stored import read
from benchmarks.figures import Aim, Figure, add_option, append, figure
from benchmarks.load import Median, Outcome, ask, load, median, post
from benchmarks.stores import COLLECTION, RECALL, Asked, make

SEARCH = f"/v1/collections/{COLLECTION}/search"
FILTERS = {"vector": None, **{f"filter {share} %": share for share in SHARES}}
AIMS = {
    "of bare Starlette": Aim(
        "at least",
        0.75,
        "workers share the connections, so that few searches come together in one; one that is alone has its "
        "candidates compared exactly with the vectors, where the bare endpoint takes FAISS's figures; next would be "
        "that comparison in compiled code",
    ),
    "p50, of the model alone": Aim("at most", 1.3),
    "recall": Aim("at least", RECALL),
    "short answers": Aim("at most", 0),
}
AIMED = (2, 8, "vector")
"""Workers, connections and kind of which the first aim is."""
BARE = "/search"
"""Where the bare servers are asked."""
TEXTS_A_ROUND = 100


@dataclass(frozen=True)
class Server:
    """One that is asked, and what."""

    name: str
    port: int
    kinds: Mapping[str, Callable[[], Sequence[bytes]]]
    """Gives the requests of one load."""


@dataclass
class Cell:
    """The rounds of one server, one kind of question and one number of connections."""

    rounds: list[Outcome] = field(default_factory=list)


NAMES = {"parecido": "Parecido", "starlette": "bare Starlette", "echo": "FastAPI echo"}
Cells = dict[tuple[str, str, int], Cell]


def by_vector(asked: Asked, path: str, share: int | None = None) -> Callable[[], Sequence[bytes]]:
    """Requests by vector, with a filter that so many of a hundred items pass."""
    filter = {"filter": {"share": {"$lt": share}}} if share else {}
    vectors = np.round(asked.vectors.astype(np.float64), 6).tolist()
    requests = [post(path, {"vector": vector, "limit": 10, **filter}) for vector in vectors]
    return lambda: requests


def by_text(asked: Asked, path: str) -> Callable[[], Sequence[bytes]]:
    """Requests by text; no text comes in two loads, as the service would remember its vector."""
    load = count()

    def requests() -> Sequence[bytes]:
        number = next(load)
        return [post(path, {"text": f"{text} load {number}", "limit": 10}) for text in asked.texts]

    return requests


@contextlib.contextmanager
def floor(kind: str, store: Path, workers: int) -> Iterator[int]:
    """One of the bare servers, and its port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        command = [sys.executable, "-m", "benchmarks.floor", kind, str(store), str(listener.fileno()), str(workers)]
        with running(command, pass_fds=[listener.fileno()]):
            port = listener.getsockname()[1]
            soon(lambda: kind != "echo" or answers(f"http://127.0.0.1:{port}/openapi.json"))
            yield port


def recall(port: int, asked: Asked, path: str, share: int | None) -> tuple[float, int]:
    """The share of the exact hits that a server finds, and how many answers have fewer than there are."""
    stored = read(asked.snapshot)
    requests = by_vector(asked, path, share)()[:50]
    answered = [[hit["id"] for hit in orjson.loads(ask("127.0.0.1", port, each))["hits"]] for each in requests]
    found = Exact(stored.items, stored.vectors, stored.shares).recall(zip(asked.vectors, answered, strict=False), share)
    return found.share, found.short


def measure(servers: Sequence[Server], connections: Sequence[int], rounds: int, seconds: float) -> Cells:
    """Every server in turn, every kind, every number of connections, round by round."""
    cells: Cells = {}
    for turn in range(rounds):
        for clients in connections:
            for kind in dict.fromkeys(kind for server in servers for kind in server.kinds):
                for server in servers if turn % 2 else reversed(servers):
                    if kind in server.kinds:
                        outcome = load("127.0.0.1", server.port, server.kinds[kind](), clients, seconds)
                        if outcome.failures:
                            print(f"{server.name}, {kind}: {outcome.first_failure}", file=sys.stderr)
                        cells.setdefault((server.name, kind, clients), Cell()).rounds.append(outcome)
    return cells


def table(cells: Cells) -> None:
    """Print a line for each cell, beside the service's the ratio to the bare endpoint's."""
    heads = ("a second", "least", "most", "p50 ms", "p99 ms", "ratio")
    print(f"{'':<12}{'kind':<14}{'conn':>5}" + "".join(f"{head:>9}" for head in heads))
    figures: dict[tuple[str, str, int], Median] = {key: median(cell.rounds) for key, cell in cells.items()}
    for (name, kind, clients), m in sorted(figures.items(), key=lambda entry: (entry[0][2], entry[0][1], entry[0][0])):
        beside = figures.get(("starlette", kind, clients))
        ratio = f"{m.rate / beside.rate:9.2f}" if beside and beside.rate and name == "parecido" else ""
        print(
            f"{name:<12}{kind:<14}{clients:>5}{m.rate:>9.0f}{m.lowest:>9.0f}{m.highest:>9.0f}{m.p50:>9.2f}{m.p99:>9.2f}"
            f"{ratio}"
        )


def speeds(cells: Cells, workers: int) -> list[Figure]:
    """Rates, times, and the ratios to what stands beside, round by round."""
    group, seen = _group(workers), []
    for (name, kind, clients), cell in cells.items():
        what = f"{clients} connection{'s' if clients > 1 else ''}, {kind}, {NAMES[name]}"
        seen.append(figure(group, what, "answers", [one.rate for one in cell.rounds], "/s"))
        seen.append(figure(group, what, "p50", [one.p50 for one in cell.rounds], "ms"))
        seen.append(figure(group, what, "p99", [one.p99 for one in cell.rounds], "ms"))
        for other, column in (("starlette", "of bare Starlette"), ("echo", "of a FastAPI echo")):
            beside = cells.get((other, kind, clients))
            if name == "parecido" and beside and all(each.rate for each in beside.rounds):
                ratios = [ours.rate / theirs.rate for ours, theirs in zip(cell.rounds, beside.rounds, strict=True)]
                aim = AIMS.get(column) if (workers, clients, kind) == AIMED else None
                seen.append(figure(group, what, column, ratios, "", aim))
    return seen


def _group(workers: int) -> str:
    return f"HTTP, {workers} worker{'s' if workers > 1 else ''}"


def text_latency(port: int, asked: Asked, rounds: int, workers: int) -> list[Figure]:
    """One client asks by text, in turn with the model alone; no text is asked twice."""
    command = [sys.executable, "-m", "benchmarks.floor", "model", str(asked.store)]
    each = min(TEXTS_A_ROUND, len(asked.texts) // 5)  # the service has five times as many, lest it be asked one again
    with running(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as alone:
        assert alone.stdin is not None
        assert alone.stdout is not None
        pairs = []
        for turn in range(rounds):
            texts = [f"{text} {turn}" for text in asked.texts]
            alone.stdin.write(orjson.dumps(texts[:each]) + b"\n")
            alone.stdin.flush()
            bare = float(alone.stdout.readline())
            bodies = [post(SEARCH, {"text": text, "limit": 10}) for text in texts]
            ours = load("127.0.0.1", port, bodies, 1, bare * each / 1000).p50
            pairs.append((ours / bare, ours, bare))
    ratio, ours, bare = sorted(pairs)[len(pairs) // 2]
    print(f"text, one client: p50 {ours:.2f} ms, the model alone {bare:.2f} ms, ratio {ratio:.2f}")
    ratios, ours_each, bare_each = zip(*pairs, strict=True)
    group, what = f"{_group(workers)}: texts", "1 connection, in turn with the model alone"
    return [
        figure(group, what, "p50", ours_each, "ms"),
        figure(group, what, "the model alone", bare_each, "ms"),
        figure(group, what, "p50, of the model alone", ratios, "", AIMS["p50, of the model alone"]),
    ]


def main() -> int:
    """Start everything, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, help="keep the store here, or take the one that is (default: temporary)")
    parser.add_argument("--data", type=Path, help="JSON Lines of id, title, text and metadata (default: made up)")
    parser.add_argument("--items", type=int, default=39_000, help="at most (default: %(default)s)")
    parser.add_argument("--queries", type=int, default=1_000, help="of each kind (default: %(default)s)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="(default: 1 2)")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8, 32], help="(default: 1 8 32)")
    parser.add_argument("--kinds", nargs="+", default=[*FILTERS, "text"], help="(default: all)")
    parser.add_argument("--rounds", type=int, default=5, help="(default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each load (default: %(default)s)")
    add_option(parser)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what was started is ended
    with tempfile.TemporaryDirectory(prefix="parecido-") as temporary:
        folder = Path(temporary)
        asked = make(options.store or folder / "store", options.data, options.items, options.queries)
        print(f"{asked.snapshot.generation.counts.items:,} items, {len(asked.snapshot.segments)} segments")
        return max(_with_workers(asked, workers, options, folder) for workers in options.workers)


def _with_workers(asked: Asked, workers: int, options: argparse.Namespace, folder: Path) -> int:
    with (
        service(asked.store, workers, folder / f"log-{workers}") as port,
        floor("echo", asked.store, workers) as echo,
        floor("starlette", asked.store, workers) as bare,
    ):
        kinds = [kind for kind in FILTERS if kind in options.kinds]
        ours, plain = ({kind: by_vector(asked, path, FILTERS[kind]) for kind in kinds} for path in (SEARCH, BARE))
        echoed = {"vector": plain["vector"]} if "vector" in plain else {}
        if "text" in options.kinds:
            ours["text"], plain["text"] = by_text(asked, SEARCH), by_text(asked, BARE)
        servers = [Server("parecido", port, ours), Server("starlette", bare, plain), Server("echo", echo, echoed)]
        measure(servers, options.connections, 1, 0.5)  # so that all are warm
        print(f"\n{workers} worker{'s' if workers > 1 else ''}, {options.rounds} rounds of {options.seconds} s")
        cells = measure(servers, options.connections, options.rounds, options.seconds)
        table(cells)
        append(options.figures, speeds(cells, workers))
        if "text" in ours:
            append(options.figures, text_latency(port, asked, options.rounds, workers))
        found = {kind: recall(port, asked, SEARCH, FILTERS[kind]) for kind in kinds}
        append(options.figures, recalls(found, workers, "parecido"))
        append(
            options.figures,
            recalls({kind: recall(bare, asked, BARE, FILTERS[kind]) for kind in kinds}, workers, "starlette"),
        )
        failed = any(outcome.failures for cell in cells.values() for outcome in cell.rounds)
        return int(failed or min((share for share, _ in found.values()), default=1.0) < RECALL)


def recalls(found: Mapping[str, tuple[float, int]], workers: int, name: str) -> list[Figure]:
    """What one finds of the nearest, and how many of 50 answers have fewer hits than there are."""
    group, seen = f"{_group(workers)}: recall", []
    for kind, (share, short) in found.items():
        what, aims = f"{kind}, {NAMES[name]}", AIMS if name == "parecido" else {}
        print(f"{what}: recall {share:.4f}, {short} of 50 answers short")
        seen.append(figure(group, what, "recall", [share], "", aims.get("recall")))
        seen.append(figure(group, what, "short answers", [short], "", aims.get("short answers")))
    return seen


if __name__ == "__main__":
    sys.exit(main())
