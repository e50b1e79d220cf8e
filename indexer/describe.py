"""What does a generation hold, as its manifest tells it?"""

from __future__ import annotations

from datetime import UTC, datetime

from indexer.answers import CollectionAnswer, ModelAnswer
from indexer.generation import Generation


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
        fields={name: kind.value for name, kind in generation.schema.items()},
        origin=generation.origin,
        hold=generation.hold,
    )
