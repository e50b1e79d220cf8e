"""When is an API given up, and when a text?

When it has answered nothing for too long, when it answers one request wrongly again and again, or when it refuses
one text after the other in the same words, has taken none, and refuses a harmless one as well: then it is not the texts
that are at fault. Where it fails over one request again and again and answers others in between, the texts are.
"""

from __future__ import annotations

import enum
import re

WRONG_ANSWERS = 4
"""How often one request may be answered wrongly."""
REFUSED_ALIKE = 16
"""How many texts may be refused in the same words while none was taken, until a harmless one is asked for."""
SPLIT_AFTER, REJECT_AFTER = 4, 6
"""How often a request of several texts, or of one, may meet with an error of the API that others do not meet with."""
DOUBT_AFTER = 3
"""How often it may until a harmless text is asked for where there are no others."""


class Blame(enum.Enum):
    """What an error of the API over a request may come from, and what is to be done."""

    API = "ask again, later"
    UNKNOWN = "ask again, and for something else in between, which shows whether it is the API"
    TEXTS = "find out which"
    TEXT = "do without it"


def blame(texts: int, failed: int, alone: int) -> Blame:
    """What to make of a request of so many texts that failed so often, and of that so often alone.

    It failed alone where something else was answered since the time before; the first time counts.
    """
    if texts > 1 and alone >= SPLIT_AFTER:
        return Blame.TEXTS
    if texts == 1 and alone >= REJECT_AFTER:
        return Blame.TEXT
    return Blame.UNKNOWN if texts and failed >= DOUBT_AFTER else Blame.API


class Patience:
    """What a run has gone through with an API so far. Times are of a clock that never jumps."""

    def __init__(self, give_up_seconds: float) -> None:
        self.seconds = give_up_seconds
        self._failing_since: float | None = None
        self.taken = 0
        """How many requests were answered as they should be."""
        self._alike: dict[str, int] = {}

    def answered(self) -> None:
        """A request was answered as it should be."""
        self._failing_since = None
        self.taken += 1

    def failed(self, now: float) -> bool:
        """Whether to give up, after a request that failed and may be tried again."""
        if self._failing_since is None:
            self._failing_since = now
        return self.failing(now) >= self.seconds

    def failing(self, now: float) -> float:
        """For how many seconds nothing but failures came."""
        return 0.0 if self._failing_since is None else now - self._failing_since

    def heard(self) -> None:
        """A request was refused for what was in it: the API is there."""
        self._failing_since = None

    def refused(self, words: str) -> bool:
        """Whether it is time to find out if any text is taken, after one that was refused in these words."""
        meant = re.sub(r"\d+", "0", words)
        self._alike[meant] = self._alike.get(meant, 0) + 1
        return not self.taken and self._alike[meant] == REFUSED_ALIKE
