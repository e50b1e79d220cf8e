"""What is in a store, as its manifests tell it, without opening a segment?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from indexer import generation as generations
from indexer.answers import CollectionAnswer, ModelAnswer
from indexer.errors import ParecidoError
from indexer.generation import Generation
from indexer.storage import collection_folder, collection_names


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
    )


def collections(store: Path) -> Iterator[tuple[str, CollectionAnswer | ParecidoError]]:
    """Every published collection of a store, or what is wrong with it, in order of name."""
    for name in collection_names(store):
        folder = collection_folder(store, name)
        try:
            if generations.numbers(folder):
                yield name, describe(generations.current(folder))
        except ParecidoError as error:
            yield name, error


def history(store: Path, name: str) -> list[CollectionAnswer]:
    """Every kept generation of a collection, newest first; raises CollectionNotFound where there is none."""
    folder = collection_folder(store, name)
    newest = generations.current(folder)
    earlier = (generations.read(folder, number) for number in reversed(generations.numbers(folder)[:-1]))
    return [describe(newest), *map(describe, earlier)]
