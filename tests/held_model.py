"""What does a model do that tests can hold back?"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from support import StandIn

from indexer.errors import InvalidRequest, ParecidoError
from indexer.vectors import Vectors


class Held(StandIn):
    """A stand-in that waits at each turn until it is let go, and notes what it is asked."""

    def __init__(self, device: str = "cpu", bad: str = "bad", error: type[ParecidoError] = InvalidRequest) -> None:
        super().__init__()
        self.device = device
        self.turns: list[list[str]] = []
        self.go = threading.Semaphore(0)
        self.bad, self.error = bad, error

    def embed_query(self, texts: Sequence[str]) -> Vectors:
        self.turns.append(list(texts))
        self.go.acquire()
        if any(self.bad in text for text in texts):
            raise self.error("No such text.")
        return super().embed_query(texts)
