"""What does a line of a batch say, and what does its answer?

A file that is uploaded is JSON Lines, one request with one text a line:

    {"custom_id": the text's key in hexadecimal, "method": "POST", "url": "/v1/embeddings",
     "body": {"model", "input", "encoding_format": "base64", and "dimensions" where that length is asked for}}

The files that come back hold one answer a line, in any order (https://platform.openai.com/docs/api-reference/batch),
each of which is what a request by itself would have been answered.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from indexer.models.openai_answers import BadAnswer, of_document
from indexer.models.openai_batches import ENDPOINT
from indexer.vectors import Vectors

LONGEST_LINE = 1 << 26
"""Bytes; more is no answer about one text."""

_KEY = re.compile(r"[0-9a-f]{64}")
_REFUSED = frozenset({400, 413, 422})
"""Statuses that are about the text itself, so that another try would come to the same."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API says about one text."""

    key: bytes
    vector: Vectors | None
    """(dimension,) float32, of length 1; None where there is none."""
    reason: str = ""
    """Why there is none."""
    refused: bool = False
    """Whether another try would come to the same."""
    expired: bool = False
    """Whether the API did not come to it."""
    tokens: int = 0
    """As the API counts; 0 where it does not say."""


def request_line(key: bytes, text: str, model: str, dimensions: int | None) -> bytes:
    """The line that asks for the vector of a text, prompt included."""
    body: dict[str, Any] = {"model": model, "input": text, "encoding_format": "base64"}
    if dimensions is not None:
        body["dimensions"] = dimensions
    line = {"custom_id": key.hex(), "method": "POST", "url": ENDPOINT, "body": body}
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


def split_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The lines of a file that comes in pieces, the last one also where no line feed ends it.

    Only line feeds end a line: a text may hold what other rules take for one.
    """
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from filter(bytes.strip, lines)
        if len(rest) > LONGEST_LINE:
            raise ValueError(f"a line has more than {LONGEST_LINE:,} bytes")
    if rest.strip():
        yield rest


def read_answer(line: bytes, dimension: int) -> Answer:
    """What a line of an output or error file says; raises ValueError where it is not about a text of ours."""
    try:
        answer = orjson.loads(line)
        id = answer["custom_id"]
        if not (isinstance(id, str) and _KEY.fullmatch(id)):
            raise ValueError(f"custom_id {id!r} is none of ours")
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"it is not an answer: {type(error).__name__}: {error}") from error
    key = bytes.fromhex(id)
    failure, response = answer.get("error"), answer.get("response")
    if isinstance(response, dict) and response.get("status_code") == 200:
        return _vector(key, response.get("body"), dimension)
    if isinstance(response, dict) and isinstance(status := response.get("status_code"), int):
        body = response.get("body")
        told = _message(body.get("error") if isinstance(body, dict) else None) or f"the API answered {status}"
        return Answer(key, None, told, refused=status in _REFUSED)
    code = failure.get("code") if isinstance(failure, dict) else None
    return Answer(
        key, None, _message(failure) or "the API gave no answer", expired=code in ("batch_expired", "batch_cancelled")
    )


def _vector(key: bytes, body: Any, dimension: int) -> Answer:
    try:
        vectors, billed = of_document(body, 1, dimension)
    except BadAnswer as error:
        return Answer(key, None, error.reason, tokens=error.billed or 0)
    return Answer(key, vectors[0], tokens=billed or 0)


def _message(error: Any) -> str:
    """The API's own words."""
    message = error.get("message") if isinstance(error, dict) else None
    return str(message) if message else ""
