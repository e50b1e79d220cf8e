"""How are a few texts embedded through the API for somebody who waits?

One request after the other, tried again for some seconds in all, and no longer: then an error says why.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence

import numpy as np

from indexer.errors import InvalidRequest
from indexer.models.openai_answers import Answer
from indexer.models.openai_failures import Failure, Verdict, explain, given_up, wait_for
from indexer.models.openai_patience import WRONG_ANSWERS
from indexer.vectors import Vectors

AT_MOST = 10.0
"""Seconds that somebody waits."""

AskWithin = Callable[[Sequence[str], float], Answer | Failure]
"""Asks the API once, and waits so many seconds for the answer at most."""


def embed_now(texts: Sequence[str], packs: Sequence[list[int]], ask: AskWithin, model: str, server: str) -> Vectors:
    """One row for each text, (n, dimension).

    Raises ModelUnavailable where the API does not answer in time, and InvalidRequest for a text that it refuses.
    """
    until = time.monotonic() + AT_MOST
    return np.concatenate([_answer([texts[row] for row in rows], ask, until, model, server) for rows in packs])


def _answer(texts: Sequence[str], ask: AskWithin, until: float, model: str, server: str) -> Vectors:
    tries = 0
    while True:
        outcome = ask(texts, max(until - time.monotonic(), 0.1))
        if isinstance(outcome, Answer):
            return outcome.vectors
        if outcome.verdict is Verdict.END:
            raise explain(outcome, model, server)
        if outcome.verdict is Verdict.SPLIT:
            raise InvalidRequest(f"Model {model!r} at {server} refuses the text: {outcome.words}", param="text")
        wait = wait_for(outcome, tries, secrets.SystemRandom().random())
        tries += 1
        left = until - time.monotonic()
        if wait >= left or (outcome.verdict is Verdict.AGAIN and tries >= WRONG_ANSWERS):
            raise given_up(
                outcome, model, server, f"within {AT_MOST:.0f} seconds" if wait >= left else f"after {tries} tries"
            )
        time.sleep(wait)
