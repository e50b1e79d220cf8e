"""What does a generation hold, as its manifest tells it?"""

from __future__ import annotations

from datetime import UTC, datetime

from indexer.ann import LIMITS, effort_for
from indexer.answers import CollectionAnswer, IndexAnswer, MeasuredAnswer, ModelAnswer, RecallAnswer
from indexer.generation import Contract, Generation, Whole
from indexer.segment import SegmentEntry


def describe(generation: Generation) -> CollectionAnswer:
    """A collection as it stands in one generation."""
    print_ = generation.fingerprint
    age = datetime.now(UTC) - generation.created_at
    return CollectionAnswer(
        name=generation.collection,
        generation=generation.number,
        created_at=generation.created_at,
        age_seconds=round(age.total_seconds(), 1),
        items=generation.counts.items,
        passages=generation.counts.passages,
        segments=len(generation.segments),
        bytes=sum(entry.bytes for entry in generation.segments),
        model=ModelAnswer(
            name=print_.name, provider=print_.provider, revision=print_.revision, dimension=print_.dimension
        ),
        store_text=generation.store_text,
        recall=_recall(generation),
        fields={name: kind.value for name, kind in generation.schema.items()},
        origin=generation.origin,
        hold=generation.hold,
    )


def _recall(generation: Generation) -> RecallAnswer:
    contract = generation.contract or Contract(None)
    return RecallAnswer(
        target=contract.target,
        exact=not contract.wholes,
        measured=[_measured(whole) for whole in contract.wholes],
        indexes=[_index(entry, contract) for entry in generation.segments],
    )


def _measured(whole: Whole) -> MeasuredAnswer:
    plain, filtered = whole.figure, whole.filtered
    return MeasuredAnswer(
        limit=whole.limit,
        recall=plain.recall,
        low=plain.low,
        high=plain.high,
        filtered=filtered.recall,
        filtered_low=filtered.low,
        filtered_high=filtered.high,
    )


def _index(entry: SegmentEntry, contract: Contract) -> IndexAnswer:
    index = entry.index
    return IndexAnswer(
        segment=entry.id,
        passages=entry.passages,
        kind=index.kind if index else "exact",
        reason=index.reason if index else "an earlier version built no other",
        queries=index.queries if index else 0,
        logged=index.logged if index else 0,
        gone=index.gone if index else 0,
        measured_in=index.measured_in if index else None,
        efforts={str(limit): effort_for(index, limit, contract.target) for limit in LIMITS},
    )
