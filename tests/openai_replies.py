"""How does the test server put an answer or a refusal, and what does mischief put in its place?"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from openai_embeddings import Refused
from openai_mischief import Act
from openai_rates import Rates, TooFast, retry_after
from starlette.responses import Response


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer before mischief, and what the ledger has to say of it."""

    body: Any
    """Bytes, or what is told as JSON."""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    entry: Mapping[str, Any] = field(default_factory=dict)


def before(act: Act) -> Reply | None:
    """What mischief answers without a look at the request; None where it is no answer."""
    if act.kind.startswith("busy"):
        style = {"busy": "none", "busy_after": "seconds", "busy_after_ms": "ms"}[act.kind]
        return refusal(_slow_down("Rate limit reached.", "requests", act.seconds, style))
    if act.kind == "quota":
        return refusal(no_money())
    return with_status(int(act.kind[7:])) if act.kind.startswith("status_") else None


def with_status(status: int) -> Reply:
    """A fault of the server."""
    return refusal(Refused(status, "The server had an error while processing your request.", "server_error"))


def no_money() -> Refused:
    """The account is empty."""
    message = "You exceeded your current quota, please check your plan and billing details."
    return Refused(429, message, "insufficient_quota", code="insufficient_quota")


def too_fast(fast: TooFast, model: str, tokens: int, rates: Rates) -> Refused:
    """A request came too fast, or never may."""
    if fast.wait is None:
        message = f"Request too large for {model} on {fast.kind}: Limit {fast.limit}, Requested {tokens}."
        return Refused(429, message, fast.kind, code="rate_limit_exceeded")
    message = f"Rate limit reached for {model} on {fast.kind} per min: Limit {fast.limit}."
    return _slow_down(message, fast.kind, fast.wait, rates.retry_after)


def _slow_down(message: str, kind: str, seconds: float, style: str) -> Refused:
    refused = Refused(429, message, kind, code="rate_limit_exceeded")
    refused.headers = retry_after(seconds, style)
    return refused


def refusal(refused: Refused) -> Reply:
    """The answer that tells a refusal."""
    return Reply({"error": refused.error}, refused.status, refused.headers)


def as_response(reply: Reply) -> Response:
    """The answer as it is sent."""
    headers = {"x-request-id": f"req_{uuid.uuid4().hex}", **reply.headers}
    if isinstance(reply.body, bytes):
        return Response(reply.body, reply.status, headers, "application/octet-stream")
    return Response(json.dumps(reply.body), reply.status, headers, "application/json")
