"""Does a run that pays for its vectors survive being killed, and pay for nothing twice?

As `soak`, over a server of OpenAI's API that lives on in a process of its own, whose ledger says what was asked and is
to be paid. A text is paid again only where its request was in flight when a run was killed; the client's own ledger
never has more than the server's, and less only by what was in flight. In batch mode nothing is paid twice at all.

    python tests/soak_openai.py [--kills 50] [--seed 1] [--mode normal|batch]

`make soak` runs both modes.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import os
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from behind_api import DIMENSION, SMALL, ServedStandIn, variables
from killed_paid import IN_FLIGHT, INPUTS
from openai_ledger import Entry
from openai_server import OpenAIProcess
from oracle import Oracle
from soak import Soak

from indexer.config import PassageSettings
from indexer.ledger import Spent, ledger

MODES = ("normal", "batch")
DRAWN_OUT = 0.02
"""Seconds over which the server draws out each answer, so that runs are killed over them."""


@dataclass(frozen=True, slots=True)
class After:
    """How things stood when a run was over."""

    began: float
    """When the next one could begin, in seconds since 1970: what the server was asked before, this run asked."""
    cached: frozenset[bytes]
    """The texts whose vectors are in the embedding cache, by their SHA-256."""
    spent: Spent
    """By the client's ledger."""
    killed: bool


class PaidSubject:
    """The command over the test server, whose ledger is at `folder`."""

    script = "killed_paid.py"
    passages = PassageSettings(tokens=64)

    def __init__(self, folder: Path, server: OpenAIProcess, mode: str) -> None:
        self._store, self._server, self._mode = folder / "store", server, mode
        self.variables = variables(server)
        self.before = f'[models."{SMALL}"]\ndimension = {DIMENSION}\n\n[openai]\nin_flight = {IN_FLIGHT}\n'
        self.more = f'model = "{SMALL}"\npassages = {{ tokens = 64 }}\nmode = "{mode}"\n'
        self.oracle = Oracle()
        self.oracle.model = ServedStandIn()
        self.seen = server.path
        self._runs = [After(time.time(), frozenset(), Spent(), killed=False)]
        self._paid: Counter[str] = Counter()
        self._spent = Spent()

    def read(self, log: Path, *, killed: bool, published: bool) -> bool:
        """See how things stand after a run; whether it has asked for anything."""
        with ledger(self._store) as own:
            spent = own.total()
        entries = self._server.ledger.entries
        # The server writes an entry before it answers, so that the client can never know of more than it.
        assert spent.tokens <= sum(entry.tokens for entry in entries), "more was written down than was paid"
        before = self._runs[-1].began
        self._runs.append(After(time.time(), cached(self._store / "embeddings.sqlite"), spent, killed))
        return any(entry.at >= before for entry in entries)

    def late(self, texts: set[str]) -> set[str]:
        """In batch mode those that are not in the embedding cache."""
        if self._mode == "normal":
            return set()
        known = cached(self._store / "embeddings.sqlite")
        return {text for text in texts if hashlib.sha256(text.encode()).digest() not in known}

    def check(self, texts: set[str], kills: int) -> None:
        """Every text was embedded, and paid again only where a run was killed over it."""
        entries = [entry for entry in self._server.ledger.entries if entry.paid]
        self._paid = Counter(text for entry in entries for text in entry.texts)
        self._spent = self._runs[-1].spent
        assert texts <= self._paid.keys()
        if self._mode == "batch":
            assert set(self._paid.values()) == {1}, "a text was paid twice"
            assert self._spent.tokens == sum(entry.tokens for entry in entries)
            return
        lost: Counter[str] = Counter()
        for before, after in itertools.pairwise(self._runs):
            asked = [entry for entry in entries if before.began <= entry.at < after.began]
            lost.update(assert_run(asked, before, after))
        again = {text: count for text, count in self._paid.items() if count > 1 + lost[text]}
        assert not again, f"{len(again)} texts were paid again although no run was killed over them"

    def summary(self) -> str:
        """What was paid, by both ledgers."""
        paid, again = len(self._paid), self._paid.total() - len(self._paid)
        tokens = sum(entry.tokens for entry in self._server.ledger.entries if entry.paid)
        cost = "nothing" if self._mode == "batch" else f"{IN_FLIGHT} requests of {INPUTS}"
        return (
            f"{paid:,} texts paid in {self._mode} mode, {again:,} of them again; {tokens:,} tokens paid, "
            f"{self._spent.tokens:,} of them on record; a kill may cost {cost}"
        )


def assert_run(asked: list[Entry], before: After, after: After) -> list[str]:
    """A run asked for nothing that it had, and has lost what was in flight at most; returns the texts it lost."""
    for entry in asked:
        assert len(entry.texts) <= INPUTS
        assert not before.cached & set(keys(entry)), "a text was asked for whose vector is in the cache"
    lost = [entry for entry in asked if not after.cached >= set(keys(entry))]
    unnoted = len(asked) - (after.spent.requests - before.spent.requests)
    most = IN_FLIGHT if after.killed else 0
    assert len(lost) <= most, f"{len(lost)} answers were lost"
    assert 0 <= unnoted <= most, f"{unnoted} requests were paid and not written down"
    return [text for entry in lost for text in entry.texts]


def keys(entry: Entry) -> list[bytes]:
    """The texts of a request, as the embedding cache names them."""
    return [hashlib.sha256(text.encode()).digest() for text in entry.texts]


def cached(cache: Path) -> frozenset[bytes]:
    """Which texts have a vector in the embedding cache, which is asked without the product."""
    if not cache.exists():
        return frozenset()
    connection = sqlite3.connect(f"file:{cache}?mode=ro", uri=True)
    try:
        if len(connection.execute("SELECT 1 FROM sqlite_master WHERE name IN ('entries', 'vectors')").fetchall()) < 2:
            return frozenset()  # it is being made
        return frozenset(row[0] for row in connection.execute("SELECT sha256 FROM entries JOIN vectors USING (id)"))
    finally:
        connection.close()


def soak(folder: Path, kills: int, seed: int, mode: str) -> str:
    """Soak, and say what was done."""
    path = folder / "server"
    path.touch()
    with OpenAIProcess(path) as server:
        server.mix("slow", share=1.0, seconds=DRAWN_OUT)
        soak = Soak(folder, seed, PaidSubject(folder, server, mode))
        soak.go(kills)
        assert soak.tally.kills.total() == kills, soak.summary()
        return soak.summary()


def main() -> None:
    """Soak, and say what was done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, help="how many runs to kill (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the edits and of the moments (default: %(default)s)")
    parser.add_argument("--mode", choices=MODES, help="in which mode (default: one after the other)")
    options = parser.parse_args()
    os.environ.pop("PARECIDO_STORE", None)
    for mode in [options.mode] if options.mode else MODES:
        with tempfile.TemporaryDirectory(prefix="parecido-") as folder:
            done = soak(Path(folder), options.kills, options.seed, mode)
        sys.stdout.write(f"seed {options.seed}: {done}\n")


if __name__ == "__main__":
    main()
