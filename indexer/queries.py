"""What does one question to a collection ask, and what is its whole answer?

The HTTP routes and the command line both come here with a snapshot, a way to its model, and a question; what they print
is what these functions return.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from indexer import filters
from indexer.answers import BatchAnswer, Hit, Hits, Include, ItemAnswer, PassageAnswer, SearchAnswer
from indexer.chunking import query_chunker
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
from indexer.models import Model
from indexer.search import Scored, nearest
from indexer.segment import Segment
from indexer.snapshot import Found, Snapshot
from indexer.vectors import Vectors, normalise, similarity

MAX_TEXT = 100_000
"""Characters in a query text."""
MAX_LIMIT = 1_000
"""Hits in one answer."""
MAX_PAGE = 10_000
"""The most that offset and limit may add up to."""

ModelSource = Callable[[], Model]
"""Gives the snapshot's model, loading it if need be: a query by id or vector needs none."""


@dataclass(frozen=True, slots=True)
class Query:
    """One search: exactly one of `text`, `id` and `vector`."""

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
    generation: int | None = None
    """Refused unless it is the current generation: so that pages of one listing belong together."""


@dataclass(slots=True)
class _Resolved:
    """A query's vectors, and the item that is left out."""

    vectors: Vectors
    filter: Filter | None
    exclude: Found | None = field(default=None)


def search(snapshot: Snapshot, model: ModelSource, query: Query) -> SearchAnswer:
    """Answer one query; raises an InvalidRequest or ItemNotFound that names what is wrong with it."""
    began = time.perf_counter()
    (resolved,) = _resolve(snapshot, model, [query])
    if isinstance(resolved, ParecidoError):
        raise resolved
    hits = _hits(snapshot, query, resolved)
    generation = snapshot.generation
    return SearchAnswer(
        collection=generation.collection,
        generation=generation.number,
        model=generation.fingerprint.name,
        took_ms=took_ms(began),
        hits=hits,
    )


def search_batch(snapshot: Snapshot, model: ModelSource, queries: Sequence[Query | ParecidoError]) -> BatchAnswer:
    """Answer several queries; one that fails, or came as an error already, gets its error and the others go on."""
    began = time.perf_counter()
    valid = [query for query in queries if isinstance(query, Query)]
    resolved = iter(_resolve(snapshot, model, valid))
    results: list[Any] = [
        {"error": query.to_json()} if isinstance(query, ParecidoError) else _result(snapshot, query, next(resolved))
        for query in queries
    ]
    generation = snapshot.generation
    return BatchAnswer(
        collection=generation.collection,
        generation=generation.number,
        model=generation.fingerprint.name,
        took_ms=took_ms(began),
        results=results,
    )


def _result(snapshot: Snapshot, query: Query, resolved: _Resolved | ParecidoError) -> Any:
    if isinstance(resolved, ParecidoError):
        return {"error": resolved.to_json()}
    return Hits(hits=_hits(snapshot, query, resolved))


def _resolve(snapshot: Snapshot, model: ModelSource, queries: Sequence[Query]) -> list[_Resolved | ParecidoError]:
    """Check every query and find its vectors; texts of all of them are embedded together."""
    resolved: list[_Resolved | ParecidoError] = []
    texts: dict[int, str] = {}
    for position, query in enumerate(queries):
        try:
            check(snapshot, query.model, query.generation)
            resolved.append(_without_model(snapshot, query))
        except ParecidoError as error:
            resolved.append(error)
            continue
        if query.text is not None:
            texts[position] = query.text
    for position, vectors in zip(texts, _embedded(model, list(texts.values())), strict=True):
        target = resolved[position]
        if isinstance(vectors, ParecidoError):
            resolved[position] = vectors
        elif isinstance(target, _Resolved):
            target.vectors = vectors
    return resolved


def _embedded(model: ModelSource, texts: Sequence[str]) -> Sequence[Vectors | ParecidoError]:
    """The vectors of each text's passages, or why it has none; where one of several is refused, each is asked alone."""
    if not texts:
        return []
    try:
        loaded = model()
        split = query_chunker(loaded).split
        passages = [[text[span.start : span.end] for span in split(text)] for text in texts]
        rows = loaded.embed_query([passage for group in passages for passage in group])
        return np.split(rows, np.cumsum([len(group) for group in passages])[:-1])
    except ParecidoError as error:
        if isinstance(error, InvalidRequest) and len(texts) > 1:
            return [one for text in texts for one in _embedded(model, [text])]
        return [error] * len(texts)


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


def _without_model(snapshot: Snapshot, query: Query) -> _Resolved:
    """All that can be said of a query before its text is embedded."""
    given = [name for name in ("text", "id", "vector") if getattr(query, name) is not None]
    if len(given) != 1:
        what = " and ".join(given) if given else "none of them"
        raise InvalidRequest(f"A query is exactly one of text, id and vector; this one has {what}.", param="text")
    if not 1 <= query.limit <= MAX_LIMIT or query.offset < 0:
        raise InvalidRequest(f"limit is 1 to {MAX_LIMIT} and offset at least 0.", param="limit")
    if query.limit + query.offset > MAX_PAGE:
        many = f"offset and limit add up to {query.limit + query.offset}"
        raise InvalidRequest(f"{many}; {MAX_PAGE} is the most: use a filter to narrow the search.", param="offset")
    filter = None if query.filter is None else filters.parse(query.filter, snapshot.generation.schema)
    if query.text is not None:
        check_text(query.text, "text")
        return _Resolved(np.empty((0, snapshot.generation.fingerprint.dimension), np.float32), filter)
    if query.vector is not None:
        return _Resolved(_vector(snapshot, query.vector), filter)
    found = find(snapshot, query.id or "", "id")
    return _Resolved(vectors_of(found), filter, exclude=found)


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
        return normalise([vector])
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


def _hits(snapshot: Snapshot, query: Query, resolved: _Resolved) -> list[Hit]:
    floor = -1.0 if query.min_similarity is None else query.min_similarity
    count = query.offset + query.limit
    scored = nearest(snapshot, resolved.vectors, count, resolved.filter, resolved.exclude, floor)
    return [_hit(one, query.include, resolved.vectors) for one in scored[query.offset :]]


def _hit(scored: Scored, include: Sequence[Include], queries: Vectors) -> Hit:
    segment, text = scored.segment, scored.segment.text(scored.row)
    hit = Hit(
        id=segment.id(scored.row),
        similarity=scored.similarity,
        passage=passage_answer(segment, scored.passage, text),
    )
    if "metadata" in include:
        hit["metadata"] = segment.metadata(scored.row)
    if "text" in include:
        hit["text"] = text
    if "passages" in include:
        rows = segment.passages_of(scored.row)
        scores = similarity(queries, segment.vectors[rows.start : rows.stop]).max(axis=0)
        hit["passages"] = [
            {**passage_answer(segment, row, text), "similarity": float(score)}
            for row, score in zip(rows, scores, strict=True)
        ]
    if "vector" in include:
        hit["vector"] = segment.vectors[scored.passage].tolist()
    return hit


def passage_answer(segment: Segment, passage: int, text: str | None) -> PassageAnswer:
    """A passage as it is shown, given its item's text."""
    start, end = int(segment.starts[passage]), int(segment.ends[passage])
    return PassageAnswer(text=None if text is None else text[start:end], start=start, end=end)


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
