"""What is known of a batch, and of a text that was sent in one?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from indexer.models import Fingerprint

Stage = Literal["staged", "intended", "uploaded", "creating", "under way", "ended", "over"]
State = Literal["asked", "done", "failed", "refused"]


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch, as it is recorded."""

    id: str
    fingerprint: Fingerprint
    server: str
    stage: Stage
    bytes: int
    sha256: str
    requests: int
    tokens: int
    file_id: str | None
    batch_id: str | None
    output_id: str | None
    error_id: str | None
    status: str | None
    done: int
    made_at: int
    asked_at: int | None
    ended_at: int | None
    billed: int | None
    estimated: bool
    nano_dollars: int | None
    reason: str

    @property
    def file_name(self) -> str:
        """What the uploaded file is called."""
        return f"parecido-{self.id}.jsonl"


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a text that was sent."""

    state: State
    reason: str
    """Why it was refused, or has failed."""
    failures: int
    """Answers that were no vectors, so far."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the API answered about a text."""

    key: bytes
    state: State
    reason: str = ""
    failure: bool = False
    """Whether it counts as an answer that was no vector."""
