"""How does the service stand beside what others use?

Chroma's server and txtai's API over HTTP, pgvector and milvus-lite behind a bare endpoint, as these two do not speak
HTTP, are each filled with the ids, vectors, texts and metadata of one store, and asked in turns with `parecido serve`
over that store, by the same generator: a closed loop of 1, 8 and 32 connections by vector, 8 with filters that 1 %,
10 % and 50 % pass; txtai, which takes texts only, by text. `peer_servers` says what each is set to. The service has two
workers, then one, which is asked without filters; nothing but the two that are compared is up meanwhile.

    python -m benchmarks.peers [--store DIR] [--data FILE] [--items N] [--venv DIR]
                               [--peers chroma txtai pgvector milvus] [--rounds 3] [--seconds 2] [--figures FILE]

Without --data the items are made up, see `stores`. What the peers need is installed into --venv when it is not there,
which alone needs the network; they share nothing with Parecido's own environment. Recall is the share of the exact ten
nearest that is found, with ties (`_exact`), by vectors of the server's own model where it is asked by text. Memory is
resident memory after the loads, and a page that processes share counts once.

It leaves with code 1 where an answer failed or an aim is missed, and with code 2 where a peer could not be measured.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
import orjson

from benchmarks import _stored, figures
from benchmarks._exact import Exact, Recall
from benchmarks._peer_processes import SERVERS, NotMeasured, fill, install, serving
from benchmarks._peer_report import Comparison, Row, by_figure, good, measured, table
from benchmarks._peers import OURS, PARECIDO, PEERS, Form, Peer, Query
from benchmarks._processes import memory, serving_ours
from benchmarks.http import Server, measure
from benchmarks.load import ask, post
from benchmarks.stores import Asked, make
from indexer import models
from indexer.vectors import Vectors

AIMS = by_figure()
HOST = "127.0.0.1"
QUERIES = 1_000
JUDGED = 50
"""How many queries recall is measured with."""
WORKERS = (2, 1)
PLAIN = {"vector": (1, 8, 32), "text": (1, 32)}
"""How many connections ask without a filter."""
FILTERED = (8,)
"""How many ask with one."""
SHARES = (1, 10, 50)


@dataclass(frozen=True)
class Ground:
    """What all comparisons have in common."""

    asked: Asked
    folder: Path
    """Holds what peers are filled with, and takes what they make of it."""
    items: Exact
    """What the service finds."""
    rows: Exact
    """What a peer finds."""
    venv: Path
    rounds: int
    seconds: float

    def questions(self, asked_by: str) -> Sequence[Query]:
        """By vector or by text."""
        if asked_by == "text":
            return list(self.asked.texts)
        vectors: list[Query] = np.round(self.asked.vectors.astype(np.float64), 6).tolist()
        return vectors


@dataclass(frozen=True)
class Side:
    """One of the two that are compared."""

    name: str
    form: Form
    path: str
    port: int

    def server(self, questions: Sequence[Query], shares: Sequence[int | None]) -> Server:
        """For `measure`; no text comes in two loads, as the service would remember its vector."""
        loads = count()

        def load(share: int | None) -> Sequence[bytes]:
            number = next(loads)
            fresh = [f"{each} {share} load {number}" if isinstance(each, str) else each for each in questions]
            return [self.form.request(self.path, each, share) for each in fresh]

        return Server(self.name, self.port, {kind(questions, share): partial(load, share) for share in shares})

    def recall(self, questions: Sequence[Query], vectors: Vectors, exact: Exact) -> dict[str, Recall]:
        """Of every kind of question, judged by the vectors of the first."""
        return {kind(questions, share): self._recall(questions, vectors, exact, share) for share in (None, *SHARES)}

    def _recall(self, questions: Sequence[Query], vectors: Vectors, exact: Exact, share: int | None) -> Recall:
        made = (self.form.request(self.path, each, share) for each in questions[: len(vectors)])
        answered = [self.form.ids(ask(HOST, self.port, request)) for request in made]
        return exact.recall(zip(vectors, answered, strict=True), share)


def kind(questions: Sequence[Query], share: int | None) -> str:
    """The name of a kind of question."""
    name = "text" if isinstance(questions[0], str) else "vector"
    return name if share is None else f"{name}, {share} % pass"


def compare(peer: Peer, ground: Ground) -> Comparison:
    """Fill the peer, and ask it in turns with the service, which first has two workers and then one."""
    folder = ground.folder / peer.name
    folder.mkdir()
    seen = Comparison(peer, fill(peer, ground.venv, ground.folder, folder))
    with serving(peer, ground.venv, folder) as up:
        theirs = Side(peer.title, peer.form, seen.filled.path, up.port)
        for workers in WORKERS:
            log = ground.folder / f"{peer.name}-{workers}.log"
            with serving_ours(ground.asked.store, workers, log) as (port, process):
                ours = Side("parecido", PARECIDO, OURS, port)
                seen.rows += _rows(ours, theirs, ground.questions(peer.asked_by), workers, ground)
                seen.our_memory[workers] = memory(process.pid)
                if workers == WORKERS[-1]:
                    _judge(seen, ours, theirs, ground)
        seen.memory = up.memory()
    return seen


def _rows(ours: Side, theirs: Side, questions: Sequence[Query], workers: int, ground: Ground) -> Iterator[Row]:
    plain: tuple[int | None, ...] = (None,)
    yield from _loads(ours, theirs, questions, workers, plain, PLAIN[kind(questions, None)], ground)
    if workers == WORKERS[0]:
        yield from _loads(ours, theirs, questions, workers, SHARES, FILTERED, ground)


def _loads(
    ours: Side,
    theirs: Side,
    questions: Sequence[Query],
    workers: int,
    shares: Sequence[int | None],
    connections: Sequence[int],
    ground: Ground,
) -> Iterator[Row]:
    servers = [side.server(questions, shares) for side in (ours, theirs)]
    measure(servers, connections[-1:], 1, min(0.5, ground.seconds))  # so that both are warm
    cells = measure(servers, connections, ground.rounds, ground.seconds)
    for name in servers[0].kinds:
        for clients in connections:
            rounds = (cells[side.name, name, clients].rounds for side in (ours, theirs))
            yield Row(name, clients, workers, *rounds)


def _judge(seen: Comparison, ours: Side, theirs: Side, ground: Ground) -> None:
    questions = ground.questions(seen.peer.asked_by)
    our_vectors = their_vectors = ground.asked.vectors[:JUDGED]
    if seen.peer.asked_by == "text":
        texts = list(ground.asked.texts[:JUDGED])
        model = models.load(ground.asked.snapshot.generation.fingerprint)
        our_vectors = np.concatenate([model.embed_query([text]) for text in texts])
        vectors = orjson.loads(ask(HOST, theirs.port, post("/batchtransform", texts)))
        their_vectors = np.array(vectors, dtype=np.float32)
    seen.our_recall = ours.recall(questions, our_vectors, ground.items)
    seen.recall = theirs.recall(questions, their_vectors, ground.rows)


def main() -> int:
    """Install, fill, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, help="keep the store here, or take the one that is (default: temporary)")
    parser.add_argument("--data", type=Path, help="JSON Lines of id, title, text and metadata (default: made up)")
    parser.add_argument("--items", type=int, default=39_000, help="at most (default: %(default)s)")
    parser.add_argument("--venv", type=Path, default=SERVERS / ".venv", help="of the peers (default: %(default)s)")
    parser.add_argument("--peers", nargs="+", default=list(PEERS), choices=list(PEERS), help="(default: all)")
    parser.add_argument("--rounds", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each load (default: %(default)s)")
    figures.add_option(parser)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what was started is ended
    installed = {name: _install(PEERS[name], options.venv) for name in options.peers}
    with tempfile.TemporaryDirectory(prefix="parecido-") as temporary:
        folder = Path(temporary)
        asked = make(options.store or folder / "store", options.data, options.items, QUERIES)
        print(f"{asked.snapshot.generation.counts.items:,} items, {len(asked.snapshot.segments)} segments")
        stored = _stored.read(asked.snapshot)
        _stored.write(asked.snapshot, stored, folder)
        items, rows = (Exact(ids, stored.vectors, stored.shares) for ids in (stored.items, stored.ids))
        ground = Ground(asked, folder, items, rows, options.venv.absolute(), options.rounds, options.seconds)
        codes = [_measure(PEERS[name], ground, options.figures) for name, there in installed.items() if there]
    return max(codes, default=0) if all(installed.values()) else 2


def _install(peer: Peer, venv: Path) -> bool:
    try:
        taken = install(peer, venv)
    except NotMeasured as error:
        print(f"{peer.title} is not measured. {error}")
        return False
    if taken:
        print(f"{peer.title}: installed in {taken:.0f} s")
    return True


def _measure(peer: Peer, ground: Ground, file: Path | None) -> int:
    """Returns the exit code that this peer asks for."""
    began = time.perf_counter()
    try:
        seen = compare(peer, ground)
    except (NotMeasured, OSError, subprocess.SubprocessError) as error:
        print(f"\n{peer.title} is not measured. {error}")
        return 2
    print(
        f"\n{ground.rounds} rounds of {ground.seconds} s, {time.perf_counter() - began:.0f} s in all",
        *table(seen),
        sep="\n",
    )
    figures.append(file, measured(seen))
    return 0 if good(seen) else 1


if __name__ == "__main__":
    sys.exit(main())
