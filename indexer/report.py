"""What did a run do, and what is it doing?"""

from __future__ import annotations

import contextlib
import resource
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

STAGES = ("read", "compare", "measure", "model", "merge", "embed", "write", "verify", "publish")


@dataclass(frozen=True, slots=True)
class ItemCounts:
    """What became of the source's rows."""

    added: int
    changed: int
    unchanged: int
    deleted: int
    rejected: int
    held: int
    """Items that the source no longer has, kept because rows whose id could not be read may be they."""
    later: int = 0
    """New or changed items some of whose texts are with the Batch API; what was published of them stays."""


@dataclass(frozen=True, slots=True)
class PassageCounts:
    """What became of the passages."""

    total: int
    """In the generation that is current after the run."""
    embedded: int
    """Computed by the model in this run."""
    cached: int
    """Needed in this run, but taken from the item's earlier version, the embedding cache or an equal text beside it."""
    tokens: int
    """In the embedded ones, as the model's own tokenizer counts them, special tokens and prompts left out."""
    characters: int
    """The length of the same texts, in code points."""


@dataclass(frozen=True, slots=True)
class Paid:
    """What a run paid to those who make vectors elsewhere."""

    requests: int = 0
    tokens: int = 0
    dollars: float | None = 0.0
    """None where the price of what was paid is not known."""
    estimated: bool = False
    """Whether some of the tokens were counted here, because the API did not say."""


@dataclass(frozen=True, slots=True)
class Merged:
    """A segment that was folded into the new one, or left out."""

    segment: str
    passages: int
    """Those that were copied; 0 where there was nothing left in it."""
    reason: str


@dataclass(frozen=True, slots=True)
class MeasuredAgain:
    """A kept segment of which so much has changed that its index was measured again."""

    segment: str
    reason: str


@dataclass(frozen=True, slots=True)
class SegmentCounts:
    """How the run changed the segments."""

    before: int
    after: int
    merged: tuple[Merged, ...]
    measured_again: tuple[MeasuredAgain, ...] = ()


@dataclass(frozen=True, slots=True)
class ByteCounts:
    """Bytes on disk."""

    total: int
    """Of the segments of the generation that is current after the run."""
    written: int
    """Of the segments that this run wrote."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a run of the indexer did."""

    collection: str
    started_at: datetime
    generation: int | None
    """The current one after the run; None where nothing is published yet."""
    published: bool
    """Whether this run made it."""
    reason: str
    """Why it was published, or why not."""
    model: str
    items: ItemCounts
    passages: PassageCounts
    segments: SegmentCounts
    bytes: ByteCounts
    seconds: Mapping[str, float]
    """By stage, and `total`. What is done beside another stage counts only as far as it was waited for."""
    peak_rss_bytes: int
    paid: Paid
    numeric_path: str | None
    """What computed the vectors: library, precision and kind of device; None where no model was needed."""
    rejects_file: str | None
    """Where the rejected rows stand, one JSON object a line; None where there are none."""
    pending: int = 0
    """Texts that are with the Batch API and that a later run has to pick up."""


@dataclass(slots=True)
class Stopwatch:
    """Seconds by stage; a stage that is entered twice adds up."""

    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    _began: float = field(default_factory=time.monotonic)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count what happens inside as the stage `name`."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] += time.monotonic() - began

    def totals(self) -> dict[str, float]:
        """All stages in order and the time since the stopwatch was made, to the millisecond."""
        return {**{k: round(v, 3) for k, v in self.seconds.items()}, "total": round(time.monotonic() - self._began, 3)}


def peak_rss_bytes() -> int:
    """The most memory this process has had resident, mapped files included."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def duration(seconds: float) -> str:
    """A length of time as people say it, in its two largest units."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
