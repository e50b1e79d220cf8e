"""How is a request's body read?

As JSON by RFC 8259: what the standard library lets pass beside it, such as NaN and halves of surrogate pairs, is
refused here rather than deep inside. No more of it is read than MAX_BODY.
"""

from __future__ import annotations

from email.message import Message
from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

MAX_BODY = 8 << 20
"""Bytes."""

_PLAIN = b"application/json"


async def read(scope: Scope, receive: Receive) -> bytes:
    """The whole body; raises HTTPException where it is over MAX_BODY, at once where its header says so.

    Raises ClientDisconnect where the caller hangs up before its end.
    """
    if int(header(scope, b"content-length") or 0) > MAX_BODY:
        raise HTTPException(413)
    message = await receive()
    body: bytes = message.get("body", b"")
    parts, size = [body], len(body)
    while message["type"] == "http.request" and message.get("more_body"):
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BODY:
            raise HTTPException(413)
    if message["type"] != "http.request":
        raise ClientDisconnect
    return body if len(parts) == 1 else b"".join(parts)


def value(scope: Scope, body: bytes) -> Any:
    """What a body says: the value of its JSON, or the bytes as they are where they are not declared to be JSON.

    Raises orjson.JSONDecodeError.
    """
    return orjson.loads(body) if body and _is_json(header(scope, b"content-type")) else body or None


def header(scope: Scope, wanted: bytes) -> bytes | None:
    """The value of a request's first header of that name, which is in lower case."""
    for name, value in scope["headers"]:
        if name == wanted:
            return bytes(value)
    return None


def _is_json(content_type: bytes | None) -> bool:
    if content_type == _PLAIN:
        return True
    if content_type is None:
        return False
    message = Message()
    message["content-type"] = content_type.decode("latin-1")
    kind = message.get_content_subtype()
    return message.get_content_maintype() == "application" and (kind == "json" or kind.endswith("+json"))
