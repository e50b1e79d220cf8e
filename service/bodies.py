"""How is a request's body read?

As JSON by RFC 8259: what the standard library lets pass beside it, such as NaN and halves of surrogate pairs, is
refused here rather than deep inside. No more of it is read than MAX_BODY.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any

import orjson
from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute

MAX_BODY = 8 << 20
"""Bytes."""


class JsonRequest(Request):
    """A request whose JSON is read strictly."""

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """The body as it comes; raises HTTPException where it is over MAX_BODY, at once where its header says so."""
        size = int(self.headers.get("content-length", 0))
        if size <= MAX_BODY:
            size = 0
            async for part in super().stream():
                size += len(part)
                if size > MAX_BODY:
                    break
                yield part
        if size > MAX_BODY:
            raise HTTPException(413)

    async def json(self) -> Any:
        """The body's value; raises json.JSONDecodeError."""
        if not hasattr(self, "_json"):
            self._json = orjson.loads(await self.body())
        return self._json


class JsonRoute(APIRoute):
    """A route that reads its body as a JsonRequest does."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, given a strict reader in place of the lenient one."""
        handle = super().get_route_handler()

        async def strictly(request: Request) -> Response:
            return await handle(JsonRequest(request.scope, request.receive))

        return strictly
