"""Do the indexes of the segments that a run keeps still find what they were found to find?

Segments never change, but what counts in them does: an index that proposes much of what is deleted finds less of the
rest. Where more than a twentieth has gone since an index was measured it is measured again, so that small runs pay
nothing and many of them no more than their share, and the figures stand in the new generation's entry of the segment.
Where they are too low its live items are folded into a new segment, which gets an index that finds enough, the exact
one in the end. No figure ever keeps a run from publishing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from indexer import ann
from indexer.ann import IndexEntry, Logged, Passages
from indexer.intake import Intake, Survivor
from indexer.merge import Fold
from indexer.recall import too_little, why_again
from indexer.report import MeasuredAgain
from indexer.run import Run
from indexer.segment import ANN


def measured_again(run: Run, taken: Intake, logged: Logged) -> Intake:
    """The same with new figures of segments that have changed too much; those that now find too little are folded."""
    folding = {fold.segment for fold in taken.folds}
    kept = [survivor for survivor in taken.survivors if survivor.entry.id not in folding]
    target = run.settings.least_recall
    due = {s.entry.id: why for s in kept if (why := why_again(s.entry, int(s.dead.sum()), target))}
    if target is None or not due:
        return taken
    run.progress.begin("measure", len(due), "indexes")
    with run.watch.stage("measure"):
        found = {s.entry.id: _measured(run, s, kept, logged) for s in kept if s.entry.id in due}
    run.progress.end()
    survivors = [
        replace(s, entry=replace(s.entry, index=found.get(s.entry.id, s.entry.index))) for s in taken.survivors
    ]
    folds = [
        Fold(s.entry.id, s.live_passages, why)
        for s in survivors
        if s.entry.id in found and (why := too_little(s.entry, target))
    ]
    told = tuple(MeasuredAgain(id, why) for id, why in due.items())
    return replace(taken, survivors=survivors, folds=[*taken.folds, *folds], measured=told)


def _measured(run: Run, survivor: Survivor, kept: Sequence[Survivor], logged: Logged) -> IndexEntry | None:
    """The index of a segment with the figures that it has now."""
    index, segment = survivor.entry.index, survivor.part.segment
    if index is None:
        return None
    others = [_live(other) for other in kept if other is not survivor]
    ladder, queries = ann.measured_again(segment.folder / ANN, segment.ann, _live(survivor), others, logged())
    for one in kept:
        one.part.segment.release()
    run.progress.advance(1)
    gone = int(survivor.dead.sum())
    return replace(
        index, queries=queries.items, logged=queries.logged, ladder=ladder, gone=gone, measured_in=run.number
    )


def _live(survivor: Survivor) -> Passages:
    """The passages of a segment, of which those count that the new generation has."""
    segment = survivor.part.segment
    live = ~survivor.dead if survivor.dead.any() else None
    return Passages(segment.vectors, None if segment.one_passage_an_item else segment.item_rows, live)
