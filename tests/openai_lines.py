"""Is an uploaded file a batch of embeddings, by OpenAI's rules?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from openai_embeddings import Limits, Rules, count_tokens


@dataclass(frozen=True, slots=True)
class Line:
    """A request of a batch; whether its body is good is seen when it is computed."""

    custom_id: str
    body: Mapping[str, Any]
    inputs: int
    tokens: int


class NotABatch(Exception):
    """Why a batch fails at validation."""

    def __init__(self, code: str, message: str, line: int | None) -> None:
        super().__init__(message)
        self.code, self.line = code, line


def read_lines(content: bytes, rules: Rules) -> list[Line]:
    """The requests of a file, in its order; raises NotABatch."""
    lines = [_read(raw, number) for number, raw in enumerate(content.splitlines(), 1) if raw.strip()]
    if not lines:
        raise NotABatch("empty_file", "The input file is empty.", None)
    _check_size(lines, rules.limits)
    seen: set[str] = set()
    model = lines[0].body.get("model")
    for number, line in enumerate(lines, 1):
        if line.custom_id in seen:
            raise NotABatch("duplicate_custom_id", f"The custom_id '{line.custom_id}' is not unique.", number)
        seen.add(line.custom_id)
        if line.body.get("model") != model:
            raise NotABatch("mismatched_model", "All requests of a batch must be for the same model.", number)
    if model not in rules.models:
        raise NotABatch("model_not_found", f"The provided model '{model}' is not supported by the Batch API.", 1)
    return lines


def _check_size(lines: list[Line], limits: Limits) -> None:
    if len(lines) > limits.batch_requests:
        raise NotABatch("too_many_tasks", f"The file has more than {limits.batch_requests} requests.", None)
    if sum(line.inputs for line in lines) > limits.batch_inputs:
        raise NotABatch("too_many_inputs", f"The file has more than {limits.batch_inputs} embedding inputs.", None)


def _read(raw: bytes, number: int) -> Line:
    try:
        line = json.loads(raw)
        id, method, url, body = line["custom_id"], line["method"], line["url"], line["body"]
        given = body["input"]
    except (ValueError, KeyError, TypeError):
        raise NotABatch("invalid_json_line", "This line is no request as JSON.", number) from None
    if not isinstance(id, str) or not id:
        raise NotABatch("invalid_custom_id", "The custom_id must be a string.", number)
    if method != "POST" or url != "/v1/embeddings":
        message = "The URL of each request must be the endpoint of the batch, and its method POST."
        raise NotABatch("mismatched_endpoint", message, number)
    texts = [given] if isinstance(given, str) else given if isinstance(given, list) else []
    return Line(id, body, len(texts), sum(count_tokens(text) for text in texts if isinstance(text, str)))
