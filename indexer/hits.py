"""What does a hit show?

Its item's id, how similar it is and its best passage, and what else was asked for; all of it read from the mapped
segment when it is shown, and nothing before.
"""

from __future__ import annotations

from collections.abc import Sequence

from indexer.answers import Hit, Include, PassageAnswer
from indexer.search import Scored
from indexer.segment import Segment
from indexer.vectors import Vectors, similarity


def show(scored: Scored, include: Sequence[Include], queries: Vectors) -> Hit:
    """A hit of those query vectors (n, dimension), with what is to be included."""
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
