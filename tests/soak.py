"""Does a collection survive whatever happens to the runs that keep it up to date?

A seeded hand edits a corpus that grows; the real command indexes it, and is killed with SIGKILL at random moments: over
its whole length, right at its start, while it embeds, and around the step that publishes. After each kill the store
must open, verify, and answer exactly as a dict and brute force say; in the end a run that nobody disturbs must have
brought everything up to date, and no text may have been embedded again once its vector was in the cache.

    python tests/soak.py [--kills 200] [--seed 1]

The edits follow from the seed alone; where exactly a kill falls is up to the machine. `make soak` runs it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corpus import Corpus
from oracle import Items, assert_answers, held
from soaked import StandInSubject, Subject
from support import NAME, assert_tidy

from indexer import generation as generations
from indexer.snapshot import open_generation, open_newest
from indexer.storage import collection_folder, file_names
from indexer.verify import verify

QUERIES = ["a musical instrument", "what the judge said"]
PENDING = 8
"""The exit code of a run whose vectors come later."""
MOST_PENDING = 30
"""So many runs in a row may have to wait for them."""
COLD = 0.05
"""Share of the runs whose process starts from nothing; the others are forked from one that has everything imported."""
MEASURED = 10
"""So many runs come before the next one whose length is measured, for they grow with the corpus."""
CONFIGURATION = """
{before}
[collections.{name}]
source = {source}
device = "cpu"
max_shrink = 1.0
keep_generations = 3
keep_days = 0.0
{more}
"""


@dataclass
class Tally:
    """What came of the runs."""

    kills: Counter[str] = field(default_factory=Counter)
    """By what the run had done until then."""
    ended: int = 0
    """Runs that were too quick to be killed, or that nobody disturbed."""


class Soak:
    """One store, one source, and runs between them."""

    def __init__(self, folder: Path, seed: int, subject: Subject) -> None:
        self._folder, self._subject = folder, subject
        self._store, self._source = folder / "store", folder / "rows.jsonl"
        self._collection = collection_folder(self._store, NAME)
        self._logs = folder / "logs"
        self._logs.mkdir()
        self._hand = random.Random(seed)
        self._corpus = Corpus(self._hand)
        self._states: dict[int, Items] = {}
        self._lengths = {False: 0.0, True: 0.0}
        self._runs = 0
        self.tally = Tally()
        source = json.dumps(str(self._source))
        config = CONFIGURATION.format(name=NAME, source=source, before=subject.before, more=subject.more)
        (folder / "parecido.toml").write_text(config, encoding="utf-8")
        script = Path(__file__).with_name(subject.script)
        self._process = subprocess.Popen(
            [sys.executable, str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **subject.variables},
        )

    def go(self, kills: int) -> None:
        """Run and be killed so many times, then run undisturbed; raises AssertionError where anything is wrong."""
        with self._process:
            try:
                self._measure(cold=True)
                while self.tally.kills.total() < kills:
                    if self._runs % MEASURED == 1:
                        self._measure(cold=False)
                    self._disturbed()
                    assert self._runs < 3 * kills + 10, "hardly any run lives long enough to be killed"
                self._undisturbed(cold=True)
                self._assert_done()
            finally:
                assert self._process.stdin is not None
                self._process.stdin.close()

    def summary(self) -> str:
        """One line on what was done."""
        tally, (last, items) = self.tally, max(self._states.items())
        where = ", ".join(f"{count} {what}" for what, count in sorted(tally.kills.items()))
        return (
            f"{tally.kills.total()} runs killed ({where}), {tally.ended} ended by themselves; {last} generations, "
            f"{len(items):,} items in the last; {self._subject.summary()}"
        )

    def _measure(self, cold: bool) -> None:
        """See how long a run takes that nobody disturbs."""
        self._corpus.edit()
        self._lengths[cold] = self._undisturbed(cold)

    def _undisturbed(self, cold: bool) -> float:
        """A run that lives to its end, and so must have brought everything up to date; the seconds it took."""
        self._corpus.write(self._source)
        tries = 0
        while (answer := self._run(cold, [], None))["code"] == PENDING:
            assert (tries := tries + 1) < MOST_PENDING, "what is pending never comes"
        assert answer["code"] == 0
        assert self._states[max(self._states)] == self._corpus.rows
        seconds: float = answer["seconds"]
        return seconds

    def _disturbed(self) -> None:
        """A run over an edited source, or the one before once more, that is killed unless it ends first."""
        if self._hand.random() < 0.7:
            self._corpus.edit()
        self._corpus.write(self._source)
        cold = self._hand.random() < COLD
        answer = self._run(cold, ["--rebuild"] if self._hand.random() < 0.05 else [], self._kill(cold))
        if answer["code"] == 0:
            assert self._states[max(self._states)] == self._corpus.rows

    def _kill(self, cold: bool) -> dict[str, Any]:
        """When to kill: anywhere, right at the start, or soon after a certain step."""
        length = self._lengths[cold]
        if (where := self._hand.random()) < 0.1:
            return {"after": self._hand.uniform(0, 0.1 * length)}
        if where < 0.25:  # after the first question to the model
            return {"after": self._hand.uniform(0, 0.4 * length), "seen": str(self._subject.seen)}
        if where < 0.35:  # after the first segment has its name
            return {"after": self._hand.uniform(0, 0.1 * length), "seen": str(self._collection.segments)}
        if where < 0.45:  # around the step that publishes
            return {"after": self._hand.uniform(0, 0.05 * length), "seen": str(self._collection.generations)}
        return {"after": self._hand.uniform(0, length)}

    def _run(self, cold: bool, options: list[str], kill: dict[str, Any] | None) -> dict[str, Any]:
        """One run, and all that must hold after it."""
        self._runs += 1
        log = self._logs / f"{self._runs}.jsonl"
        before = max(self._states, default=0)
        told = ["--config", str(self._folder / "parecido.toml"), "--store", str(self._store)]
        answer = self._command(["index", *told, *options], log, cold, kill)
        killed = answer["code"] == -signal.SIGKILL
        assert killed or answer["code"] in (0, PENDING), self._output.read_text(encoding="utf-8")
        after = self._assert_whole(before)
        asked = self._subject.read(log, killed=killed, published=after > before)
        if killed:
            self.tally.kills[self._progress(asked, after > before)] += 1
        else:
            self.tally.ended += 1
        return answer

    @property
    def _output(self) -> Path:
        """What the last command said."""
        return self._folder / "output"

    def _command(self, arguments: list[str], log: Path, cold: bool, kill: dict[str, Any] | None) -> dict[str, Any]:
        order = {"log": str(log), "arguments": arguments, "output": str(self._output), "cold": cold, "kill": kill}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def _assert_whole(self, before: int) -> int:
        """The store opens, verifies and answers as the state does that its number stands for; returns the number."""
        numbers = generations.numbers(self._collection)
        last = max(numbers, default=0)
        assert last in (before, before + 1)
        if last > before:
            self._states[last] = self._published(self._states.get(before, {}))
        found = verify(self._collection)
        assert found.damages == []
        if last:
            snapshot = open_newest(self._collection)
            assert snapshot.generation.number == last
            assert_answers(snapshot, self._states[last], self._subject.oracle, QUERIES, self._subject.passages)
            older = self._hand.choice(numbers)
            assert held(open_generation(self._collection, older)) == self._states[older]
        return last

    def _published(self, old: Items) -> Items:
        """What a new generation must hold: the source; items whose vectors come later stay as they were."""
        late = self._subject.late(self._texts())
        found: dict[str, tuple[str, Any]] = {}
        for id, row in self._corpus.rows.items():
            if late.isdisjoint(self._subject.oracle.passages(row[0], self._subject.passages)):
                found[id] = row
            elif id in old:
                found[id] = old[id]
        return found

    def _texts(self) -> set[str]:
        """What has to be embedded of the source."""
        split = self._subject.oracle.passages
        return {text for row in self._corpus.rows.values() for text in split(row[0], self._subject.passages)}

    def _progress(self, asked: bool, published: bool) -> str:
        """How far a killed run came."""
        if published:
            return "after publishing"
        kept = {entry.id for number in self._states for entry in self._entries(number)}
        if set(file_names(self._collection.segments)) - kept:
            return "after a segment was written"
        return "while embedding" if asked else "before embedding"

    def _entries(self, number: int) -> tuple[Any, ...]:
        kept = number in generations.numbers(self._collection)
        return generations.read(self._collection, number).segments if kept else ()

    def _assert_done(self) -> None:
        """Nothing lies about, the command finds nothing wrong, and every text was embedded once."""
        assert_tidy(self._store)
        published = max(self._states)
        self._undisturbed(cold=False)
        assert max(self._states) == published, "there was something left to do"
        told = ["verify", "--store", str(self._store)]
        assert self._command(told, self._folder / "no-log", False, None)["code"] == 0
        self._subject.check(self._texts(), self.tally.kills.total())


def main() -> None:
    """Soak, and say what was done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, help="how many runs to kill (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the edits and of the moments (default: %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="parecido-") as folder:
        soak = Soak(Path(folder), options.seed, StandInSubject(Path(folder)))
        soak.go(options.kills)
    sys.stdout.write(f"seed {options.seed}: {soak.summary()}\n")


if __name__ == "__main__":
    main()
