"""After any sequence of operations on a collection, does it hold and find what a dict would?

Hypothesis edits the source, runs the indexer, lets it die, rolls back, resumes, prunes, damages and repairs in any
order; a dict for each published generation is the oracle, see `oracle`. Segments are made so small that several are
live and are folded all the time.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from dying import dying
from edits import Edits
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from oracle import Items, Oracle, assert_answers, held
from support import NAME, Place, flip

from indexer import generation as generations
from indexer import merge, models, spool, storage, windows, writing
from indexer.config import PassageSettings
from indexer.errors import CorruptGeneration, GenerationNotFound, OnHold
from indexer.models import slices
from indexer.prune import prune
from indexer.repair import DERIVED, repair
from indexer.rollback import resume, rollback
from indexer.snapshot import Snapshot, open_generation, open_newest
from indexer.storage import collection_folder
from indexer.verify import verify

KEEP = 3
SMALL: list[tuple[Any, str, int]] = [
    (writing, "SEGMENT_BYTES", 16 * 4 * 10),
    (merge, "FLOOR", 1),
    (merge, "BLOCK_ITEMS", 2),
    (windows, "WINDOW_ITEMS", 4),
    (slices, "SLICE", 3),
    (spool, "FLUSH_ROWS", 6),
]
"""So that a dozen items do what a million would."""
ORACLE = Oracle()

passages = st.sampled_from([PassageSettings(), PassageSettings(tokens=8, overlap=2)])


@dataclass(frozen=True)
class State:
    """What a generation must hold, and how."""

    items: Items
    passages: PassageSettings
    origin: int | None = None
    """The generation that was rolled back to."""
    hold: bool = False


class Collection(Edits):
    """A source, a store, and what each generation must hold."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory(prefix="parecido-")
        self._patch = pytest.MonkeyPatch()
        for module, name, value in SMALL:
            self._patch.setattr(module, name, value)
        self._patch.setattr(models, "identify", lambda *_: ORACLE.model.fingerprint)
        self._patch.setattr(models, "load", lambda *_: ORACLE.model)
        ORACLE.model.asked.clear()
        self.place = Place(Path(self._folder.name))
        self.collection = collection_folder(self.place.store, NAME)
        self.passages = PassageSettings()
        self.states: dict[int, State] = {}
        self.readers: list[tuple[Snapshot, State]] = []
        self.untouched = True

    def teardown(self) -> None:
        """Let go of everything; no text was embedded twice."""
        self.readers.clear()
        self._patch.undo()
        self._folder.cleanup()
        assert len(ORACLE.model.asked) == len(set(ORACLE.model.asked))

    @property
    def current(self) -> int:
        """The number of the last generation that was published."""
        return max(self.states)

    @property
    def held(self) -> bool:
        """Whether runs are refused."""
        return bool(self.states) and self.states[self.current].hold

    @rule(rebuild=st.sampled_from([False, False, False, True]))
    def index(self, rebuild: bool) -> None:
        if self.held:
            with pytest.raises(OnHold):
                self._run(rebuild)
            return
        numbers, before = self.place.numbers, self.states[self.current] if self.states else None
        report = self._run(rebuild)
        old = before.items if before else {}
        changed = sum(id in old and old[id] != item for id, item in self.rows.items())
        added, deleted = len(self.rows.keys() - old.keys()), len(old.keys() - self.rows.keys())
        counts = report.items
        assert (counts.added, counts.changed, counts.deleted) == (added, changed, deleted)
        other = before is None or before.passages != self.passages
        assert report.published == bool(added or changed or deleted or other or rebuild)
        self._settle(State(dict(self.rows), self.passages))
        assert self.place.numbers == [*numbers, *[self.current] * report.published][-KEEP:]

    @rule(passages=passages)
    def index_with_other_passages(self, passages: PassageSettings) -> None:
        self.passages = passages
        self.index(rebuild=False)

    def _run(self, rebuild: bool) -> Any:
        self.untouched = False
        rows = [{"id": id, "text": text, **fields} for id, (text, fields) in self.rows.items()]
        return self.place.run(rows, rebuild, passages=self.passages, keep_generations=KEEP, keep_days=0)

    @rule(step=st.integers(1, 90), rebuild=st.booleans())
    def die_in_a_run(self, step: int, rebuild: bool) -> None:
        if not self.held:
            self._die(step, lambda: self._run(rebuild), State(dict(self.rows), self.passages))

    @precondition(lambda self: len(self.states) > 1)
    @rule(step=st.integers(1, 20), which=st.integers(0, 5))
    def die_in_a_rollback(self, step: int, which: int) -> None:
        number = self._kept(which)
        target = self.states[number]
        self._die(
            step,
            lambda: rollback(self.place.store, NAME, number),
            State(target.items, target.passages, number, hold=True),
        )

    @precondition(lambda self: self.states)
    @rule(step=st.integers(1, 20))
    def die_in_pruning(self, step: int) -> None:
        self._die(step, lambda: self._prune(1), None)

    def _die(self, step: int, act: Callable[[], object], next: State | None) -> None:
        """Die before a step of the disk; what was published by then counts."""
        with dying(step):
            act()
        self._settle(next)

    def _settle(self, next: State | None) -> None:
        """Learn from the published numbers whether the next state has come."""
        self.untouched = False
        last, known = max(self.place.numbers, default=0), max(self.states, default=0)
        if next is not None and last == known + 1:
            self.states[last] = next
        else:
            assert last == known

    @precondition(lambda self: len(self.states) > 1)
    @rule(which=st.none() | st.integers(0, 5))
    def roll_back(self, which: int | None) -> None:
        numbers = self.place.numbers
        number = None if which is None else self._kept(which)
        try:
            done = rollback(self.place.store, NAME, number)
        except GenerationNotFound:
            assert number is None
            assert all(self.states[older].items == self.states[self.current].items for older in self._older())
            return
        assert done.origin in numbers
        assert done.origin == number if number is not None else done.origin in self._older()
        target = self.states[done.origin]
        self._settle(State(target.items, target.passages, done.origin, hold=True))
        assert self.held

    @precondition(lambda self: self.states)
    @rule()
    def resume(self) -> None:
        was, now = self.held, self.states[self.current]
        assert (resume(self.place.store, NAME) is not None) == was
        self._settle(replace(now, hold=False))
        assert not self.held

    @precondition(lambda self: self.states)
    @rule(keep=st.integers(1, 3))
    def prune(self, keep: int) -> None:
        numbers = self.place.numbers
        self._prune(keep)
        self._settle(None)
        assert self.place.numbers == numbers[-keep:]

    def _prune(self, keep: int) -> None:
        with storage.lock(self.collection):
            prune(self.collection, keep, timedelta(0))

    def _older(self) -> list[int]:
        """The kept generations that are older than what the current one has again."""
        oldest, kept = self.current, self.place.numbers
        while (origin := self.states[oldest].origin) is not None:
            oldest = origin
            if origin not in kept:
                break
        return [number for number in kept if number < oldest]

    def _kept(self, which: int) -> int:
        numbers = self.place.numbers
        return numbers[which % len(numbers)]

    @precondition(lambda self: self.states and self.states[self.current].items)
    @rule(
        which=st.integers(0, 9), name=st.sampled_from(DERIVED), at=st.floats(0, 1, exclude_max=True), run=st.booleans()
    )
    def damage_and_repair(self, which: int, name: str, at: float, run: bool) -> None:
        entries = generations.current(self.collection).segments
        path = self.collection.segments / entries[which % len(entries)].id / name
        flip(path, int(at * path.stat().st_size))
        assert {damage.path for damage in verify(self.collection).damages} == {path}
        if run and not self.held:
            with contextlib.suppress(CorruptGeneration):
                self._run(rebuild=False)
            self._settle(State(dict(self.rows), self.passages))
        before = self.states[self.current]
        done = repair(self.collection)
        assert done.damages == []
        assert done.published is None
        self._settle(before)

    @precondition(lambda self: self.states and len(self.readers) < 3)
    @rule()
    def open_a_reader(self) -> None:
        self.readers.append((open_newest(self.collection), self.states[self.current]))

    # What must hold all the time.

    @invariant()
    def every_generation_holds_and_finds_what_its_dict_does(self) -> None:
        if self.untouched:
            return
        self.untouched = True
        assert verify(self.collection).damages == []
        for number in self.place.numbers:
            self._assert_is(open_generation(self.collection, number), self.states[number])
        if self.states:
            newest = open_newest(self.collection).generation
            assert (newest.number, newest.hold) == (self.current, self.held)
        for snapshot, state in self.readers:
            self._assert_is(snapshot, state)

    def _assert_is(self, snapshot: Snapshot, state: State) -> None:
        if snapshot.generation.number == self.current:
            assert_answers(snapshot, state.items, ORACLE, ["a pet"], state.passages)
        else:
            assert held(snapshot) == state.items


def test_after_any_operations_every_generation_holds_and_finds_what_a_dict_does() -> None:
    run_state_machine_as_test(
        Collection,
        settings=settings(
            max_examples=40,
            stateful_step_count=30,
            derandomize=True,
            database=None,
            phases=[Phase.generate],  # with Phase.shrink a failure takes minutes, and is short
            suppress_health_check=list(HealthCheck),
        ),
    )
