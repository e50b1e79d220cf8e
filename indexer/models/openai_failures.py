"""What does it mean that the API did not answer, and what is to be done?

Pure decisions. What always holds: no words of the API come out of here with the key, or a part of it, in them.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from indexer.errors import ModelUnavailable
from indexer.models.openai_pace import seconds
from indexer.providers import OPENAI_KEY, OPENAI_URL

LONGEST_WORDS = 500
"""Characters of what the API says that are told."""
FIRST_WAIT = 0.5
LONGEST_WAIT = 30.0
"""Seconds between two tries."""
PART, ODD_PART = 6, 4
"""Characters in a row of a key that give too much of it away: fewer where they are no word, like the `proj` in it."""
LONG = 12
"""Characters of a key of which such few are not the half."""

_LATER = frozenset({408, 409, 425, 429})
_EMPTY = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
_ABOUT_INPUT = frozenset({400, 413, 422})


class Verdict(enum.Enum):
    """What is to be done after a request that failed."""

    LATER = "ask again, later"
    AGAIN = "ask again, a few times: the answer was wrong, and may have to be paid for"
    SPLIT = "one of the texts may be refused: find out which"
    END = "it will never work"


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that has no answer that can be kept."""

    verdict: Verdict
    words: str
    """What the API says, or what happened to the request; the key is not in it."""
    status: int | None = None
    """Of HTTP; None where nothing came back."""
    code: str = ""
    """The API's own name for it."""
    after: float = 0.0
    """Seconds that the API wants to be left alone."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """With names in lower case."""
    billed: int | None = 0
    """Tokens to be paid for all the same; None where the API does not say."""
    slow: bool = False
    """Whether there was no answer in time, so that less might have one."""

    @property
    def spent(self) -> bool:
        """Whether the account has nothing left to pay with."""
        return self.code in _EMPTY or self.status == 402

    @property
    def of_rate(self) -> bool:
        """Whether the API was asked too fast."""
        return self.status == 429 and self.verdict is Verdict.LATER


def judge(status: int, code: str, kind: str, param: str) -> Verdict:
    """What is to be done after an answer with that status; the others are fields of the error in it, or empty.

    A request that is refused for one of its parameters is refused for every text, so that splitting would not help.
    """
    if _EMPTY & {code, kind}:
        return Verdict.END
    if status in _LATER or status >= 500:
        return Verdict.LATER if status not in (501, 505) else Verdict.END
    if status in _ABOUT_INPUT and code != "model_not_found" and (not param or param.startswith("input")):
        return Verdict.SPLIT
    return Verdict.END


def explain(failure: Failure, model: str, server: str) -> ModelUnavailable:
    """The error that ends a run or a query for good."""
    if failure.spent:
        reason = f"The account at {server} has nothing left to pay with: {failure.words} Fill it up, and run again"
    elif failure.status == 401:
        reason = f"{server} does not take the key: set {OPENAI_KEY} to one that is valid there"
    elif failure.status == 403:
        reason = f"{server} does not allow the key to use model {model!r}: {failure.words} Set another {OPENAI_KEY}"
    elif failure.status == 404:
        reason = (
            f"{server} has no model {model!r}, or no embeddings at that address: {failure.words} Look at `model`, and "
            f"at {OPENAI_URL}"
        )
    else:
        reason = f"{server} refuses every request for model {model!r}: {failure.words} Look at its settings"
    return ModelUnavailable(f"{reason}.", param="model")


def given_up(failure: Failure, model: str, server: str, tried: str) -> ModelUnavailable:
    """The error after trying for so long; `tried` says how long, or how often."""
    return ModelUnavailable(
        f"Model {model!r} at {server} gave no answer that can be used, {tried}; the last time: {failure.words}",
        param="model",
    )


def backoff(tries: int, chance: float) -> float:
    """Seconds to wait after so many tries: up to twice as long each time, and evenly spread by a chance in [0, 1).

    "Full jitter": https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    return chance * min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(tries, 16))


def retry_after(headers: Mapping[str, str], now: datetime) -> float:
    """Seconds that an answer asks to be waited, by `retry-after-ms` or `Retry-After`; 0 where it does not."""
    milliseconds = seconds(headers.get("retry-after-ms", "") + "ms")
    if milliseconds is not None:
        return milliseconds
    value = headers.get("retry-after", "")
    if (wait := seconds(value)) is not None:
        return wait
    try:
        at: datetime = parsedate_to_datetime(value)
    except (ValueError, TypeError):
        return 0.0
    return max(0.0, ((at if at.tzinfo else at.replace(tzinfo=UTC)) - now).total_seconds())


def sentence(words: str, key: str) -> str:
    """Somebody's words as one line that ends like a sentence, of bounded length, without the key."""
    line = masked(" ".join(words.split()), key)
    if len(line) > LONGEST_WORDS:
        line = line[: LONGEST_WORDS - 1].rstrip() + "…"
    return line if line.endswith((".", "!", "?", "…")) else f"{line}."


def masked(words: str, key: str) -> str:
    """Words with whatever looks like the key, or a part of it, replaced."""
    whole = words.replace(key, "…") if key else words
    return re.sub(r"\S+", lambda word: "…" if _tells(word[0], key) else word[0], whole)


def _tells(word: str, key: str) -> bool:
    """Whether a word is a key with its middle starred out, or shares with the key what nobody should see."""
    if "***" in word:
        return True
    bare = word.strip(".,;:!?'\"`()[]{}<>…")
    if len(key) < PART:
        return False
    if len(bare) >= 4 and (key.startswith(bare) or key.endswith(bare)):
        return True
    odd = [part for part in _parts(key, ODD_PART) if not part.islower()] if len(key) >= LONG else []
    return any(part in word for part in [*_parts(key, PART), *odd])


def _parts(key: str, length: int) -> list[str]:
    return [key[at : at + length] for at in range(len(key) - length + 1)]


def wait_for(failure: Failure, tries: int, chance: float) -> float:
    """Seconds until the next try; at least what the API asks for."""
    return failure.after + backoff(tries, chance)
