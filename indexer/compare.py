"""How alike are two items or texts, and where?"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from indexer.answers import CompareAnswer, PassageAnswer, PassagePair
from indexer.chunking import document_chunker
from indexer.errors import InvalidRequest
from indexer.hits import passage_answer
from indexer.queries import ModelSource, check, check_text, find, took_ms, vectors_of
from indexer.snapshot import Snapshot
from indexer.vectors import Vectors, similarity

PAIRS = 3


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two that are compared: exactly one of `id` and `text`."""

    id: str | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class _Passages:
    answers: Sequence[PassageAnswer]
    vectors: Vectors


def compare(
    snapshot: Snapshot,
    model: ModelSource,
    a: Side,
    b: Side,
    pairs: int = PAIRS,
    named_model: str | None = None,
) -> CompareAnswer:
    """The similarity of two sides and their best-matching passages, at most `pairs` of them.

    A text is split and embedded as an item's would be. Raises ItemNotFound, ModelMismatch, or an InvalidRequest that
    names the side.
    """
    began = time.perf_counter()
    check(snapshot, named_model, None)
    left, right = _passages(snapshot, model, a, "a"), _passages(snapshot, model, b, "b")
    scores = similarity(left.vectors, right.vectors)
    best = [
        PassagePair(similarity=float(scores[i, j]), a=left.answers[i], b=right.answers[j])
        for i, j in _best_pairs(scores, pairs)
    ]
    generation = snapshot.generation
    return CompareAnswer(
        collection=generation.collection,
        generation=generation.number,
        model=generation.fingerprint.name,
        took_ms=took_ms(began),
        similarity=float(scores.max()),
        passages=best,
    )


def _passages(snapshot: Snapshot, model: ModelSource, side: Side, name: str) -> _Passages:
    if (side.id is None) == (side.text is None):
        raise InvalidRequest(f"Side {name!r} is exactly one of id and text.", param=name)
    if side.id is not None:
        found = find(snapshot, side.id, f"{name}.id")
        segment, text = found.segment, found.segment.text(found.row)
        answers = [passage_answer(segment, row, text) for row in segment.passages_of(found.row)]
        return _Passages(answers, vectors_of(found))
    text = side.text or ""
    check_text(text, f"{name}.text")
    loaded = model()
    spans = document_chunker(loaded, snapshot.generation.passages).split(text)
    answers = [PassageAnswer(text=text[span.start : span.end], start=span.start, end=span.end) for span in spans]
    try:
        vectors = loaded.embed_documents([text[span.start : span.end] for span in spans])
    except InvalidRequest as error:  # a model may refuse a text, and does not know whose it is
        raise InvalidRequest(error.message, param=f"{name}.text") from error
    return _Passages(answers, vectors)


def _best_pairs(scores: np.ndarray[tuple[int, int], np.dtype[np.float64]], count: int) -> list[tuple[int, int]]:
    """The most similar pairs, best first, no row and no column twice."""
    pairs: list[tuple[int, int]] = []
    rows, columns = set[int](), set[int]()
    for flat in np.argsort(-scores, axis=None, kind="stable"):
        i, j = divmod(int(flat), scores.shape[1])
        if i not in rows and j not in columns:
            pairs.append((i, j))
            rows.add(i)
            columns.add(j)
            if len(pairs) == min(count, *scores.shape):
                break
    return pairs
