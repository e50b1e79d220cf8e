"""Does a failure of the service become one answer, and no more of one that has begun?"""

from __future__ import annotations

import asyncio

import orjson
import pytest
from starlette.types import Message, Receive, Scope, Send

from service.middleware import Outermost

SCOPE: Scope = {"type": "http", "headers": [(b"x-request-id", b"mine"), (b"x-request-id", b"other")]}
START: Message = {"type": "http.response.start", "status": 200}


async def nothing() -> Message:
    return {"type": "http.disconnect"}


def sent_before_it_failed(*messages: Message) -> list[Message]:
    """What goes out when an app sends this and fails; that it failed reaches the server."""
    sent: list[Message] = []

    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)
        raise RuntimeError("a secret")

    async def send(message: Message) -> None:
        sent.append(message)

    with pytest.raises(RuntimeError, match="a secret"):
        asyncio.run(Outermost(failing)(SCOPE, nothing, send))
    return sent


def test_a_failure_before_the_answer_is_answered() -> None:
    start, body = sent_before_it_failed()
    assert start["status"] == 500
    assert [value for name, value in start["headers"] if name == b"x-request-id"] == [b"mine"]
    assert orjson.loads(body["body"])["error"]["code"] == "internal_error"


def test_an_answer_that_has_begun_is_not_begun_again() -> None:
    part: Message = {"type": "http.response.body", "body": b"half of it", "more_body": True}
    start, body = sent_before_it_failed(dict(START), part)
    assert start == {**START, "headers": [(b"x-request-id", b"mine")]}
    assert body == part
