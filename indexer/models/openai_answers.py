"""What did the API answer, and is it what was asked for?

What always holds: vectors come in the order of the texts, one for each, of the agreed length, each of length 1. What is
anything else is no answer, and never kept.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from indexer.vectors import Vectors, normalise


@dataclass(frozen=True, slots=True)
class Answer:
    """The vectors of one request."""

    vectors: Vectors
    """(texts, dimension)"""
    billed: int | None
    """Tokens to be paid for; None where the API does not say."""
    headers: Mapping[str, str]
    """With names in lower case."""


class BadAnswer(Exception):
    """An answer that is not what was asked for."""

    def __init__(self, reason: str, billed: int | None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.billed = billed
        """Tokens to be paid for all the same; None where the API does not say."""


def read_answer(body: bytes, texts: int, dimension: int | None) -> tuple[Vectors, int | None]:
    """The vectors, (texts, dimension), and the tokens to be paid for, None where that is not said.

    Vectors come as base64 (little-endian float32), as asked for, or as numbers.

    Raises BadAnswer; for another length than `dimension` too, unless that is None.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise BadAnswer("the answer is not JSON", None) from None
    return of_document(document, texts, dimension)


def of_document(document: Any, texts: int, dimension: int | None) -> tuple[Vectors, int | None]:
    """The same of an answer whose JSON has been read."""
    billed = _billed(document)
    try:
        return _vectors(document, texts, dimension), billed
    except ValueError as error:
        raise BadAnswer(str(error), billed) from None


def _billed(document: Any) -> int | None:
    usage = document.get("usage") if isinstance(document, dict) else None
    if not isinstance(usage, dict):
        return None
    counts = (usage.get("total_tokens"), usage.get("prompt_tokens"))
    return next((count for count in counts if type(count) is int and count >= 0), None)


def _vectors(document: Any, texts: int, dimension: int | None) -> Vectors:
    data = document.get("data") if isinstance(document, dict) else None
    if not isinstance(data, list) or not all(isinstance(one, dict) for one in data):
        raise ValueError("the answer has no list of vectors")
    if len(data) != texts:
        raise ValueError(f"the answer has {len(data)} vectors for {texts} texts")
    indices = [one.get("index") for one in data]
    if not all(type(index) is int for index in indices) or sorted(indices) != list(range(texts)):
        raise ValueError("the answer does not say which vector is of which text")
    rows = [_row(one.get("embedding")) for one in sorted(data, key=lambda one: int(one["index"]))]
    _check_lengths([len(row) for row in rows], dimension)
    return normalise(np.stack(rows))


def _row(value: Any) -> np.typing.NDArray[np.floating]:
    if isinstance(value, str):
        try:
            return np.frombuffer(base64.b64decode(value, validate=True), dtype="<f4")
        except (binascii.Error, ValueError):
            raise ValueError("a vector is no base64 of float32") from None
    if not isinstance(value, list) or not all(type(number) in (int, float) for number in value):
        raise ValueError("a vector is neither base64 nor a list of numbers")
    return np.array(value, dtype=np.float64)


def _check_lengths(lengths: Sequence[int], dimension: int | None) -> None:
    expected = lengths[0] if dimension is None else dimension
    wrong = [length for length in lengths if length != expected or not length]
    if wrong:
        raise ValueError(f"a vector has {wrong[0]} dimensions, not {expected or 'any'}")
