"""What is asked of the API together, and how has it fared?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from indexer.models import Embedded
from indexer.models.openai_packing import halves
from indexer.models.openai_patience import Blame, blame

HARMLESS = "text"
"""What no API refuses that embeds anything."""


@dataclass(slots=True)
class Request:
    """Texts that are asked for together."""

    rows: list[int]
    """None for the harmless text, which nobody needs."""
    tokens: int
    allowed: bool = False
    """Whether its tokens are reserved."""
    tries: int = 0
    """How often it failed."""
    wrong: int = 0
    """How often it was answered wrongly."""
    broken: int = 0
    """How often the API had an error over it, status 500."""
    alone: int = 0
    """Of that, how often others were answered since the time before."""
    others: int = -1
    """How many were answered by the last time."""

    def broke(self, others: int) -> Blame:
        """Count an error of the API, by when so many other requests were answered."""
        self.broken += 1
        self.alone += others > self.others
        self.others = others
        return blame(len(self.rows), self.broken, self.alone)


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked for, and of whom."""

    texts: Sequence[str]
    tokens: Sequence[int]
    """In each of them."""
    dimension: int
    model: str
    server: str

    def request(self, rows: list[int], allowed: bool = False) -> Request:
        """A request for some of the texts."""
        return Request(rows, sum(self.tokens[row] for row in rows), allowed)

    def halves(self, request: Request) -> list[Request]:
        """Two requests for what was one, allowed if that was."""
        return [self.request(rows, request.allowed) for rows in halves(request.rows)]

    def of(self, request: Request) -> list[str]:
        """The texts of a request."""
        return [self.texts[row] for row in request.rows] or [HARMLESS]


def harmless(others: int) -> Request:
    """A request that shows whether the API embeds anything at all, for a token, after so many others were answered."""
    return Request([], 1, others=others)


def given_back(request: Request) -> Embedded:
    """The answer about a request that is not made after all: what was reserved for it is free."""
    return Embedded([], None, reserved=request.tokens)
