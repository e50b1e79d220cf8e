"""What does an answer of the API say, and can it be believed?

Pure functions over bytes, headers and statuses. What always holds: vectors come from an answer only where each text has
exactly one, of the right length, finite and not zero; else it is a spoiled answer, and nothing of it is used.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import numpy as np
import orjson

from indexer.vectors import Vectors, normalise

Kind = Literal["again", "inputs", "over"]


class SpoiledAnswer(Exception):
    """An answer that is not what was asked for."""

    def __init__(self, reason: str, billed: int | None = None) -> None:
        super().__init__(reason)
        self.billed = billed
        """Tokens that are paid for all the same, where it says so."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Vectors, and what they cost."""

    vectors: Vectors
    billed: int | None
    """Tokens, by the API; None where it does not say."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a request failed, and what to do about it."""

    kind: Kind
    """`again`: the same may succeed later; `inputs`: one of the texts is refused; `over`: none will succeed."""
    words: str
    """What happened, the rest of a sentence."""
    wait: float | None = None
    """Seconds that the API asks to be left alone; None where it does not say."""
    rate: bool = False
    """Whether it was too much at once."""


def read_answer(content: bytes, count: int, dimension: int | None) -> Answer:
    """The vectors of an answer for `count` texts, (count, dimension) of length 1; raises SpoiledAnswer.

    Where `dimension` is None any length does.
    """
    try:
        document = orjson.loads(content)
        data = document["data"]
        found = {entry["index"]: entry["embedding"] for entry in data}
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise SpoiledAnswer(f"it is not the JSON of embeddings ({type(error).__name__})") from error
    billed = _billed(document.get("usage"))
    if len(data) != count or found.keys() != set(range(count)):
        raise SpoiledAnswer(f"it has {len(data)} vectors of {len(found)} indices for {count} texts", billed)
    try:
        rows = [_numbers(found[index]) for index in range(count)]
    except (ValueError, TypeError, binascii.Error) as error:
        raise SpoiledAnswer(f"a vector cannot be read ({error})", billed) from error
    lengths = {len(row) for row in rows}
    if len(lengths) != 1 or (dimension is not None and lengths != {dimension}):
        raise SpoiledAnswer(f"its vectors have {sorted(lengths)} numbers, not {dimension}", billed)
    try:
        return Answer(normalise(np.stack(rows)), billed)
    except ValueError as error:
        raise SpoiledAnswer("a vector has no direction: it is all zeros or not finite", billed) from error


def _numbers(embedding: Any) -> Any:
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding, validate=True), dtype="<f4").astype(np.float64)
    if not isinstance(embedding, list):
        raise ValueError("neither base64 nor a list")
    return np.array(embedding, dtype=np.float64)


def _billed(usage: Any) -> int | None:
    tokens = usage.get("prompt_tokens", usage.get("total_tokens")) if isinstance(usage, dict) else None
    return tokens if isinstance(tokens, int) and tokens >= 0 else None


def judge(status: int | None, body: Any, headers: Mapping[str, str], words: str) -> Failure:
    """What a failed request means, by its status (None where there was no answer) and the error in its body."""
    error = body if isinstance(body, dict) else {}
    message, code, param = (_text(error.get(name)) for name in ("message", "code", "param"))
    told = message or words
    if status is None or status in {408, 409} or status >= 500:
        return Failure("again", told, seconds_to_wait(headers))
    if status == 429:
        if "insufficient_quota" in (code, error.get("type")):
            return Failure("over", f"the account has no money left ({told}): see to its billing")
        return Failure("again", told, seconds_to_wait(headers), rate=True)
    if status in {401, 403}:
        return Failure("over", f"it does not accept the key (status {status}): set OPENAI_API_KEY to one that it knows")
    if status == 404:
        return Failure("over", f"it does not know the model ({told}): check the name")
    if status in {400, 413, 422} and (not param or param.startswith("input")):
        return Failure("inputs", told)
    return Failure("over", f"it refuses the request with status {status} ({told})")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def seconds_to_wait(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """How long the headers ask to wait: retry-after-ms, or Retry-After in seconds or as a date (RFC 9110, 10.2.3)."""
    if (milliseconds := _number(headers.get("retry-after-ms"))) is not None:
        return milliseconds / 1000
    said = headers.get("retry-after")
    if (seconds := _number(said)) is not None or said is None:
        return seconds
    try:
        return max(0.0, (parsedate_to_datetime(said) - (now or datetime.now(UTC))).total_seconds())
    except (ValueError, TypeError):
        return None


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None


_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")


def duration(text: str | None) -> float | None:
    """Seconds of what the API writes as "6m0s", "1s" or "20ms"; None for what is no such thing."""
    match = _DURATION.fullmatch(text or "")
    if not text or match is None:
        return None
    hours, minutes, seconds, milliseconds = (float(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds + milliseconds / 1000
