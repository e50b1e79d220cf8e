"""What does one question to a collection ask, and what is its whole answer?

The HTTP routes and the command line both come here with a snapshot, a way to its model, and a question; what they print
is what these functions return.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from indexer import filters
from indexer.answers import BatchAnswer, Hit, Hits, Include, ItemAnswer, SearchAnswer
from indexer.errors import (
    DimensionMismatch,
    GenerationNotFound,
    InputTooLong,
    InvalidRequest,
    ItemNotFound,
    ModelMismatch,
    ParecidoError,
)
from indexer.filters import Filter
from indexer.hits import Show, passage_answer, show
from indexer.models import Model
from indexer.query_texts import embed_queries
from indexer.search import Asked, Scored, nearest
from indexer.snapshot import Found, Snapshot
from indexer.together import nearest_each
from indexer.vectors import Vectors, normalise_one

MAX_TEXT = 100_000
"""Characters in a query text."""
MAX_LIMIT = 1_000
"""Hits in one answer."""
MAX_PAGE = 10_000
"""The most that offset and limit may add up to."""

ModelSource = Callable[[], Model]
"""Gives the snapshot's model, loading it if need be: a query by id or vector needs none."""


class Query(NamedTuple):
    """One search: exactly one of `text`, `id` and `vector`; a tuple, as that is made in a third of the time."""

    text: str | None = None
    id: str | None = None
    """An item of the collection, which is itself left out of the hits."""
    vector: Sequence[float] | None = None
    limit: int = 10
    offset: int = 0
    min_similarity: float | None = None
    filter: Any = None
    """In the native spelling, see `filters`."""
    include: Sequence[Include] = ("metadata",)
    model: str | None = None
    """Refused unless it is the collection's model."""
    recall: float | None = None
    """How much of what is nearest shall be found on average, where that is more than the collection promises."""
    exact: bool = False
    """Whether all of what is nearest shall be found, however long it takes."""
    generation: int | None = None
    """Refused unless it is the current generation: so that pages of one listing belong together."""


class Resolved(NamedTuple):
    """A query that is right, and what it stands for."""

    query: Query
    vectors: Vectors
    """(passages, dimension); none where its text has yet to be embedded."""
    filter: Filter | None = None
    exclude: Found | None = None
    """The item that is left out."""


Resolutions = Sequence[Resolved | ParecidoError]
"""Queries, each resolved or with what is wrong with it."""


def search(snapshot: Snapshot, model: ModelSource, query: Query) -> SearchAnswer:
    """Answer one query; raises an InvalidRequest or ItemNotFound that names what is wrong with it."""
    began = time.perf_counter()
    resolved = resolve(snapshot, query)
    if query.text is not None:
        resolved = resolved._replace(vectors=embed_queries(model(), [query.text])[0])
    return answer(snapshot, resolved, began)


def resolve(snapshot: Snapshot, query: Query) -> Resolved:
    """All that can be said of a query before its text is embedded; raises what is wrong with it."""
    check(snapshot, query.model, query.generation)
    _check_shape(query)
    filter = None if query.filter is None else filters.parse(query.filter, snapshot.generation.schema)
    if query.text is not None:
        check_text(query.text, "text")
        return Resolved(query, np.empty((0, snapshot.generation.fingerprint.dimension), np.float32), filter)
    if query.vector is not None:
        return Resolved(query, _vector(snapshot, query.vector), filter)
    found = find(snapshot, query.id or "", "id")
    return Resolved(query, vectors_of(found), filter, exclude=found)


def resolve_all(snapshot: Snapshot, queries: Sequence[Query | ParecidoError]) -> Resolutions:
    """The same for several, of which some may come as errors already."""
    resolved: list[Resolved | ParecidoError] = []
    for query in queries:
        try:
            resolved.append(query if isinstance(query, ParecidoError) else resolve(snapshot, query))
        except ParecidoError as error:
            resolved.append(error)
    return resolved


def texts_of(resolved: Resolutions) -> dict[int, str]:
    """The texts that have yet to be embedded, by position."""
    known = ((at, one.query.text) for at, one in enumerate(resolved) if isinstance(one, Resolved))
    return {at: text for at, text in known if text is not None}


def with_vectors(resolved: Resolutions, found: Mapping[int, Vectors | ParecidoError]) -> Resolutions:
    """The same with the vectors of their texts, or why there are none, by position."""
    return [
        one if isinstance(one, ParecidoError) or at not in found else _with(one, found[at])
        for at, one in enumerate(resolved)
    ]


def _with(one: Resolved, vectors: Vectors | ParecidoError) -> Resolved | ParecidoError:
    return vectors if isinstance(vectors, ParecidoError) else one._replace(vectors=vectors)


def answer(snapshot: Snapshot, resolved: Resolved, began: float, show: Show = show) -> SearchAnswer:
    """The answer to a query whose vectors are known; `began` is when it came, by time.perf_counter."""
    return answered(snapshot, resolved, nearest(snapshot, _asked(resolved)), began, show)


def find_each(snapshot: Snapshot, resolved: Sequence[Resolved]) -> list[list[Scored]]:
    """The items that are nearest to each of several queries whose vectors are known."""
    return nearest_each(snapshot, [*map(_asked, resolved)])


def answered(
    snapshot: Snapshot, resolved: Resolved, found: Sequence[Scored], began: float, show: Show = show
) -> SearchAnswer:
    """The answer to a query whose nearest items are known."""
    hits, own = _shown(resolved, found, show), snapshot.generation
    return SearchAnswer(
        collection=own.collection,
        generation=own.number,
        model=own.fingerprint.name,
        took_ms=took_ms(began),
        hits=hits,
    )


def answer_batch(snapshot: Snapshot, resolved: Resolutions, began: float, show: Show = show) -> BatchAnswer:
    """One answer or one error for each."""
    good = [one for one in resolved if isinstance(one, Resolved)]
    pages = zip(good, find_each(snapshot, good), strict=True)
    hits = iter([Hits(hits=_shown(one, scored, show)) for one, scored in pages])
    results: list[Any] = [
        {"error": one.to_json()} if isinstance(one, ParecidoError) else next(hits) for one in resolved
    ]
    own = snapshot.generation
    return BatchAnswer(
        collection=own.collection,
        generation=own.number,
        model=own.fingerprint.name,
        took_ms=took_ms(began),
        results=results,
    )


def _asked(resolved: Resolved) -> Asked:
    query = resolved.query
    count, least = query.offset + query.limit, -1.0 if query.min_similarity is None else query.min_similarity
    return Asked(resolved.vectors, count, resolved.filter, resolved.exclude, least, query.recall, query.exact)


def _shown(resolved: Resolved, scored: Sequence[Scored], show: Show) -> list[Hit]:
    query = resolved.query
    return show(scored[query.offset :], query.include, resolved.vectors)


def check(snapshot: Snapshot, model: str | None, generation: int | None) -> None:
    """Refuse a request that names another model or another generation than the snapshot's."""
    own = snapshot.generation
    if model is not None and model != own.fingerprint.name:
        raise ModelMismatch(
            f"The request names model {model!r}, but collection {own.collection!r} was built with "
            f"{own.fingerprint.name!r}: ask with that one, or leave it out.",
            param="model",
        )
    if generation is not None and generation != own.number:
        raise GenerationNotFound(
            f"Generation {generation} of {own.collection!r} is not being served; the current one is {own.number}: "
            "begin again at the first page.",
            param="generation",
        )


def _check_shape(query: Query) -> None:
    """Refuse what no snapshot could answer."""
    if (query.text is None) + (query.id is None) + (query.vector is None) != 2:
        given = [name for name in ("text", "id", "vector") if getattr(query, name) is not None]
        what = " and ".join(given) if given else "none of them"
        raise InvalidRequest(f"A query is exactly one of text, id and vector; this one has {what}.", param="text")
    if not 1 <= query.limit <= MAX_LIMIT or query.offset < 0:
        raise InvalidRequest(f"limit is 1 to {MAX_LIMIT} and offset at least 0.", param="limit")
    if query.recall is not None and not 0 < query.recall < 1:
        raise InvalidRequest("recall is between 0 and 1; ask for an exact search to find all.", param="recall")
    if query.limit + query.offset > MAX_PAGE:
        raise InvalidRequest(
            f"offset and limit add up to {query.limit + query.offset}; {MAX_PAGE} is the most: use a filter to narrow "
            "the search.",
            param="offset",
        )


def check_text(text: str, param: str) -> None:
    """Refuse a text that is blank, over the maximum, or no text at all."""
    check_unicode(text, param)
    if not text.strip():
        raise InvalidRequest("The text is blank: give some words.", param=param)
    if len(text) > MAX_TEXT:
        raise InputTooLong(
            f"The text has {len(text)} characters; {MAX_TEXT} is the most: shorten it, or index it and search by id.",
            param=param,
        )


def check_unicode(text: str, param: str | None) -> None:
    """Refuse what has no encoding: a shell hands over stray bytes as halves of surrogate pairs."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest(f"{text!r} is not valid Unicode: check its encoding.", param=param) from error


def _vector(snapshot: Snapshot, vector: Sequence[float]) -> Vectors:
    dimension = snapshot.generation.fingerprint.dimension
    if len(vector) != dimension:
        raise DimensionMismatch(
            f"The vector has {len(vector)} numbers, but model {snapshot.generation.fingerprint.name!r} makes "
            f"{dimension}: embed the query with that model.",
            param="vector",
        )
    try:
        return normalise_one(vector)
    except ValueError as error:
        raise InvalidRequest("The vector has no direction: it is all zeros or not finite.", param="vector") from error


def find(snapshot: Snapshot, id: str, param: str | None = None) -> Found:
    """The item of that id; raises ItemNotFound."""
    check_unicode(id, param)
    found = snapshot.find(id)
    if found is None:
        own = snapshot.generation
        raise ItemNotFound(f"Collection {own.collection!r} has no item {id!r} in generation {own.number}.", param=param)
    return found


def vectors_of(found: Found) -> Vectors:
    """The vectors of an item's passages, (passages, dimension)."""
    rows = found.segment.passages_of(found.row)
    return found.segment.vectors[rows.start : rows.stop]


def item(snapshot: Snapshot, id: str) -> ItemAnswer:
    """One item as it was indexed; raises ItemNotFound."""
    found = find(snapshot, id)
    segment, text = found.segment, found.segment.text(found.row)
    return ItemAnswer(
        collection=snapshot.generation.collection,
        generation=snapshot.generation.number,
        id=id,
        text=text,
        metadata=segment.metadata(found.row),
        passages=[passage_answer(segment, row, text) for row in segment.passages_of(found.row)],
    )


def took_ms(began: float) -> float:
    """Milliseconds since `began`, a reading of time.perf_counter."""
    return round((time.perf_counter() - began) * 1000, 3)
