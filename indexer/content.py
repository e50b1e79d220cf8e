"""What goes into the segments that a run writes?

Items that are new or changed, with their vectors; the live items of segments that are folded; and the published
versions of items of which the model refuses the new one, for these stay what they were. Where nothing else changed,
none of it is written.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

import numpy as np

from indexer import models
from indexer.ann import Logged, nothing_logged
from indexer.brakes import too_much_rejected, too_much_shrinks
from indexer.changes import Pending
from indexer.chunking import Chunker, document_chunker
from indexer.columns import to_hashes
from indexer.embedding import Counter, Embedding, Withheld, nothing_withheld
from indexer.errors import BrakeRefused
from indexer.generation import Bits
from indexer.intake import Intake
from indexer.items import Rejected, hash_content
from indexer.merge import copied
from indexer.meter import Meter
from indexer.models import Model
from indexer.models.cache import EmbeddingCache
from indexer.report import ItemCounts, Stopwatch
from indexer.run import REJECTS, Run, advised
from indexer.segment import Prepared, Segment
from indexer.snapshot import Found, LiveSegment, verify
from indexer.windows import needs
from indexer.writing import Rows, SegmentShape

T = TypeVar("T")


@dataclass(slots=True)
class Refusals:
    """Items that the model has refused, and those whose vectors come later."""

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    """In a rebuild."""
    lost: list[str] = field(default_factory=list)
    """The ids of published items that a rebuild leaves out: nothing of them is of the new space."""
    stay: dict[Segment, list[int]] = field(default_factory=dict)
    """By segment, the item rows of the published versions that stay."""
    later_added: int = 0
    later_changed: int = 0

    @property
    def count(self) -> int:
        """How many are refused."""
        return self.added + self.changed + self.unchanged

    @property
    def later(self) -> int:
        """How many come later."""
        return self.later_added + self.later_changed


class Content:
    """What one run writes, and what became of it."""

    def __init__(
        self,
        run: Run,
        taken: Intake,
        cache: EmbeddingCache,
        meter: Meter,
        withheld: Withheld = nothing_withheld,
        logged: Logged = nothing_logged,
    ) -> None:
        self._run, self._taken, self._cache, self._meter, self._withheld = run, taken, cache, meter, withheld
        self.shape = SegmentShape(
            run.number,
            taken.schema,
            run.fingerprint.dimension,
            run.settings.store_text,
            run.settings.least_recall,
            run.settings.memory_budget,
            logged,
        )
        """What all of it has in common."""
        self.counter = Counter()
        self.numeric_path: str | None = None
        """What computed the vectors; None before a model was needed."""
        self.refusals = Refusals()

    @property
    def idle(self) -> bool:
        """Whether nothing is left to publish, for all that was new has been refused or comes later."""
        taken, left_out = self._taken, self.refusals.count + self.refusals.later
        new = taken.found.to_write - left_out
        return left_out > 0 and not (taken.rebuild or new or taken.found.deleted or self._run.due)

    @property
    def items(self) -> ItemCounts:
        """What became of the source's rows."""
        found, refused = self._taken.found, self.refusals
        return ItemCounts(
            added=found.added - refused.added - refused.later_added,
            changed=found.changed - refused.changed - refused.later_changed,
            unchanged=found.unchanged - refused.unchanged,
            deleted=found.deleted,
            rejected=self._run.rejects.count,
            held=found.held,
            later=refused.later,
        )

    def batches(self) -> Generator[list[Prepared] | Rows]:
        """All of it; raises BrakeRefused where the model refuses too much, or too much would be paid."""
        yield from self._embedded()
        if self.refusals.count:
            self._check_refusals()
        if not self.idle:
            yield from self._staying()
            yield from self._folded()

    def _embedded(self) -> Iterator[list[Prepared]]:
        """The items that are new or changed, in a rebuild all, with their vectors."""
        run, taken = self._run, self._taken
        if taken.to_write == 0:
            return
        run.progress.begin("model", None, "")
        with run.watch.stage("model"):
            model = models.load(run.fingerprint, run.settings.device, run.providers)
            chunker = document_chunker(model, run.settings.passages)
        self.numeric_path = model.numeric_path
        run.progress.end()
        self._foresee(model, chunker)
        run.progress.begin("embed", taken.to_write, "items")
        cache = self._cache.for_run(run.fingerprint, run.folder.path)
        how = Embedding(model, chunker, run.reuse, cache, self._meter, run.progress, self.counter, self._refuse,
                        self._hold, self._withheld)  # fmt: skip
        with advised(run.folder):
            yield from _timed(run.watch, "embed", how.prepare(taken.pending()))

    def _foresee(self, model: Model, chunker: Chunker) -> None:
        """Count what must be paid for before anything is, where there is a limit."""
        if not self._meter.limited:
            return
        run, tokens = self._run, 0
        each = model.tokenizer.count(run.fingerprint.document_prompt) + model.tokenizer.special
        with run.watch.stage("compare"):
            for need in needs(self._taken.pending(), run.fingerprint, chunker, run.reuse, self._cache):
                tokens += sum(need.tokens) + each * len(need.texts)
        if reason := self._meter.foresee(tokens, model.tokenizer.exact):
            raise BrakeRefused(f"Nothing was published: {reason}.", param="max_cost")

    def _refuse(self, pending: Pending, reason: str) -> None:
        """Put an item on the rejects list; its published version stays, where that is of the same space."""
        self._run.rejects.add(Rejected(pending.place, reason, pending.item.id))
        old, refused = pending.old, self.refusals
        if old is None:
            refused.added += 1
            return
        if self._taken.rebuild is None:
            refused.stay.setdefault(old.segment, []).append(old.row)
        else:
            refused.lost.append(pending.item.id)
        if self._taken.rebuild and _same(pending, old):
            refused.unchanged += 1
        else:
            refused.changed += 1

    def _hold(self, pending: Pending) -> None:
        """Leave an item to a later run; its published version stays."""
        if pending.old is None:
            self.refusals.later_added += 1
        else:
            self.refusals.later_changed += 1
            self.refusals.stay.setdefault(pending.old.segment, []).append(pending.old.row)

    def _check_refusals(self) -> None:
        run, taken, lost = self._run, self._taken, self.refusals.lost
        run.rejects.keep(run.folder.path / REJECTS)
        going, items = taken.found.deleted + len(lost), run.published.counts.items if run.published else 0
        reason = too_much_rejected(run.rejects.count, taken.rows, run.settings.max_rejects)
        if reason is None and lost:
            reason = too_much_shrinks(going, items, run.settings.max_shrink, lost[:5])
        if reason:
            raise BrakeRefused(
                f"Nothing was published: with what the model refuses, {reason}, see {str(run.folder.path / REJECTS)!r}."
            )

    def _staying(self) -> Iterator[Rows]:
        """The published versions of what was refused."""
        for segment, rows in self.refusals.stay.items():
            yield from self._copied(segment, np.isin(np.arange(segment.entry.items), rows))

    def _folded(self) -> Iterator[Rows]:
        """The live items of the segments that are folded."""
        folding = {fold.segment for fold in self._taken.folds if fold.passages}
        for survivor in self._taken.survivors:
            if survivor.part.segment.entry.id in folding:
                yield from self._copied(survivor.part.segment, ~survivor.dead)

    def _copied(self, segment: Segment, live: Bits) -> Iterator[Rows]:
        """Some items of a published segment, which is checked first, so that no damage is copied."""
        if self._run.current is None:
            return
        with self._run.watch.stage("verify"), advised(self._run.folder):
            verify(self._run.current, {segment.entry.id})
        part = LiveSegment(segment, live, live[segment.item_rows])
        yield from _timed(self._run.watch, "merge", copied(part, self.shape))


def _same(pending: Pending, old: Found) -> bool:
    """Whether an item is what is published of it."""
    _, contents = old.segment.ids.by_row()
    return bool((to_hashes([hash_content(pending.item)])[0] == contents[old.row]).all())


def _timed(watch: Stopwatch, stage: str, source: Iterator[T]) -> Generator[T]:
    """The same, the time it takes to make each counted as that stage; what was handed over is not held."""
    while True:
        with watch.stage(stage):
            made = [*islice(source, 1)]
        if not made:
            return
        yield made.pop()
