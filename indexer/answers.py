"""What does a person or a program get back?

The shapes of every answer, the same over HTTP and from the command line with --json. A key that was not asked for, with
`include` or by the kind of answer, is left out; a text is null where the store keeps no texts.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

Include = Literal["text", "metadata", "passages", "vector"]


class PassageAnswer(TypedDict):
    """A piece of an item's text."""

    text: str | None
    start: int
    """Where it begins in the text, in code points."""
    end: int
    """Where it ends: `text[start:end]` is the passage."""


class ScoredPassage(PassageAnswer):
    """A passage and how similar it is to the query."""

    similarity: float


class Hit(TypedDict):
    """An item that is similar to the query."""

    id: str
    similarity: float
    """Cosine similarity of the best passage, in [-1, 1]; higher is more alike."""
    passage: PassageAnswer
    """The best passage."""
    metadata: NotRequired[dict[str, Any]]
    text: NotRequired[str | None]
    passages: NotRequired[list[ScoredPassage]]
    """All passages of the item, in the order of the text."""
    vector: NotRequired[list[float]]
    """The vector of the best passage."""


class SearchAnswer(TypedDict):
    """The items nearest to one query, best first; of equal similarity, in order of id."""

    collection: str
    generation: int
    model: str
    took_ms: float
    hits: list[Hit]


class ErrorBody(TypedDict):
    """What is wrong, and what to do."""

    message: str
    type: str
    param: str | None
    code: str


class ErrorAnswer(TypedDict):
    """The envelope of every error."""

    error: ErrorBody


class Hits(TypedDict):
    """One answer of a batch."""

    hits: list[Hit]


class BatchAnswer(TypedDict):
    """One answer or one error a query, in the order of the queries."""

    collection: str
    generation: int
    model: str
    took_ms: float
    results: list[Hits | ErrorAnswer]


class PassagePair(TypedDict):
    """A passage of each side and how similar the two are."""

    similarity: float
    a: PassageAnswer
    b: PassageAnswer


class CompareAnswer(TypedDict):
    """How alike two items or texts are: as alike as their best-matching passages."""

    collection: str
    generation: int
    model: str
    took_ms: float
    similarity: float
    passages: list[PassagePair]
    """The best-matching passages side by side, best first; each passage stands in one pair at most."""


class ItemAnswer(TypedDict):
    """One item as it was indexed."""

    collection: str
    generation: int
    id: str
    text: str | None
    metadata: dict[str, Any]
    passages: list[PassageAnswer]


class ModelAnswer(TypedDict):
    """The model of a collection's vectors."""

    name: str
    """As it is configured: a name of the hub, a folder, or `openai:` before that of a model behind an API."""
    provider: str
    """Who makes the vectors: `sentence-transformers`, on the store's machine, or `openai`, behind an API."""
    revision: str
    """SHA-256 over the model's files; empty for a model behind an API."""
    dimension: int
    """How many numbers a vector has."""


class MeasuredAnswer(TypedDict):
    """What searches for up to `limit` items find, on average, of what is nearest: that of the worst index."""

    limit: int
    """The most items that such a search asks for."""
    recall: float
    """The share of what is nearest that is found, where there is no filter."""
    low: float
    """With a confidence of 95 % the recall lies between `low` and `high`, by a bootstrap over the queries."""
    high: float
    """The upper end of the interval of `recall`."""
    filtered: float
    """The recall with a filter: the worst of those that an index is tried with."""
    filtered_low: float
    """With a confidence of 95 % that recall lies between `filtered_low` and `filtered_high`."""
    filtered_high: float
    """The upper end of the interval of `filtered`."""


class IndexAnswer(TypedDict):
    """The index of one segment."""

    segment: str
    """The segment's id."""
    passages: int
    """How many vectors the segment has, those of deleted items among them."""
    kind: str
    """`exact` compares all vectors; `pq` scans 4-bit codes; `hnsw` walks a graph, `hnsw-sq8` one over 8-bit codes."""
    reason: str
    """Why it is of that kind."""
    queries: int
    """How many items were asked with to measure it; 0 where it is exact by proof."""
    logged: int
    """How many queries of a log were asked besides; of both, the figures are those of which less was found."""
    gone: int
    """Its items that were deleted or replaced when it was measured."""
    measured_in: int | None
    """The generation for which it was measured again, as so much had changed; null where it was as it was built."""
    efforts: dict[str, int | None]
    """By limit, how hard it looks: nodes kept in a graph's walk, or candidates compared; null where it is exact."""
    filtered_efforts: dict[str, int | None]
    """How hard it looks where there is a filter."""


class RecallAnswer(TypedDict):
    """How much of what is nearest a search finds."""

    target: float | None
    """As configured; null where everything is to be found, and in generations of an earlier version."""
    exact: bool
    """Whether everything is found, by proof."""
    measured: list[MeasuredAnswer]
    """By limit; for more items than the last of these limits, and where there is none, searches find everything."""
    indexes: list[IndexAnswer]
    """One for each segment."""


class CollectionAnswer(TypedDict):
    """What a collection holds."""

    name: str
    """The collection's name."""
    generation: int
    """The number of the generation."""
    created_at: datetime
    """When the generation was published."""
    age_seconds: float
    """Since the generation was published."""
    items: int
    """How many items it holds, deleted ones left out."""
    passages: int
    """How many passages these have, each with a vector."""
    segments: int
    """How many segments it consists of."""
    bytes: int
    """Of the generation's files on disk."""
    model: ModelAnswer
    """What makes the vectors."""
    store_text: bool
    """Whether texts are kept in the store; where they are not, the texts of answers are null."""
    recall: RecallAnswer
    """What searches find of what is nearest, and by which indexes."""
    fields: dict[str, str]
    """Metadata field to type: what a filter can use."""
    origin: int | None
    """The generation whose content this one has again, after a rollback."""
    hold: bool
    """Whether runs are refused until somebody lifts the hold of a rollback."""


class GenerationAnswer(CollectionAnswer):
    """One generation as it was published."""

    run: dict[str, Any] | None
    """The report of the run that made it; null where a rollback or a repair did."""


class LastRun(TypedDict):
    """How the last run ended."""

    started_at: datetime
    ended_at: datetime
    error: ErrorBody | None
    report: dict[str, Any] | None


class PendingAnswer(TypedDict):
    """What is with the Batch API."""

    batches: int
    texts: int
    done: int
    """How many of the texts have an answer, as the API said when it was last asked."""


class StatusAnswer(TypedDict):
    """How a collection is doing."""

    name: str
    current: CollectionAnswer | None
    """The newest generation that can be opened; null where none can, or none is published."""
    problems: dict[str, str]
    """What is wrong with newer generations, by number; under `*` where they cannot even be listed."""
    held_at: int | None
    """The generation to which a rollback went, while it refuses runs, even where its own cannot be opened."""
    last_run: LastRun | None
    pending: PendingAnswer | None
    """Null where nothing is with the Batch API."""
    next_run_at: datetime | None
    """By the schedule that a process keeps, where one does."""
