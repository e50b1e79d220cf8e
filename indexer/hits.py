"""What does a hit show?

Its item's id, how similar it is and its best passage, and what else was asked for; all of it read from the mapped
segment when it is shown, and nothing before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from indexer.answers import Hit, Include, PassageAnswer
from indexer.search import Scored
from indexer.segment import Segment
from indexer.vectors import Vectors, similarity

Show = Callable[[Sequence[Scored], Sequence[Include], Vectors], list[Hit]]
"""Gives the hits of those query vectors (n, dimension), with what is to be included."""


def show(scored: Sequence[Scored], include: Sequence[Include], queries: Vectors) -> list[Hit]:
    """The hits as they stand in the segments."""
    return [_hit(one, include, queries) for one in scored]


def _hit(scored: Scored, include: Sequence[Include], queries: Vectors) -> Hit:
    segment, metadata = scored.segment, None
    if "metadata" in include:
        id, text, metadata = segment.record(scored.row)
    else:
        id, text = segment.id(scored.row), segment.text(scored.row)
    passage = passage_answer(segment, scored.passage, text)
    hit: Hit = {"id": id, "similarity": scored.similarity, "passage": passage}
    if metadata is not None:
        hit["metadata"] = metadata
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
    start, end = segment.starts.item(passage), segment.ends.item(passage)
    return {"text": None if text is None else text[start:end], "start": start, "end": end}
