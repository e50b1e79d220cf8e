"""How are the routes answered that are asked often?

FastAPI describes them, and only that: a request goes from its bytes to the endpoint and back without what FastAPI does
to find the endpoint and what it wants, which takes longer than a search. Such an endpoint is `async` and takes
`request`, `collection` and `body`, whose type is a pydantic model; it returns a response or raises a ParecidoError.
A plain one takes the request alone, and raises nothing.
"""

from __future__ import annotations

import typing
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from indexer.errors import InvalidRequest, ParecidoError
from service import bodies, errors

Endpoint = Callable[..., Awaitable[Response]]

PREFIX = "/v1/collections/"

_MISSING = [{"type": "missing", "loc": ("body",), "msg": "Field required"}]


class Direct:
    """Answers POST requests to endpoints of a collection and GET requests to plain ones, and passes on all others."""

    def __init__(self, app: ASGIApp, endpoints: Mapping[str, Endpoint], plain: Mapping[str, Endpoint]) -> None:
        """`endpoints` are named by what comes after the collection's name and a slash, plain ones by the path."""
        self._app = app
        self._plain = plain
        self._endpoints = {
            ending: (endpoint, TypeAdapter[Any](typing.get_type_hints(endpoint)["body"]))
            for ending, endpoint in endpoints.items()
        }

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer the request or pass it on."""
        if scope["type"] == "http" and scope["method"] == "POST" and scope["path"].startswith(PREFIX):
            collection, _, ending = scope["path"][len(PREFIX) :].partition("/")
            if collection and ending in self._endpoints:
                return self._answer(collection, *self._endpoints[ending], scope, receive, send)
        elif scope["type"] == "http" and scope["method"] == "GET" and scope["path"] in self._plain:
            return self._answer_plainly(self._plain[scope["path"]], scope, receive, send)
        return self._app(scope, receive, send)

    async def _answer_plainly(self, endpoint: Endpoint, scope: Scope, receive: Receive, send: Send) -> None:
        response = await endpoint(Request(scope, receive))
        await response(scope, receive, send)

    async def _answer(
        self,
        collection: str,
        endpoint: Endpoint,
        adapter: TypeAdapter[Any],
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        request = Request(scope, receive)
        try:
            body = _checked(scope, await bodies.read(scope, receive), adapter)
            response = await endpoint(request=request, collection=collection, body=body)
        except ParecidoError as error:
            response = errors.ours(error)
        except HTTPException as error:
            response = errors.of_http(request, error)
        except ClientDisconnect:
            return  # there is nobody to answer
        await response(scope, receive, send)


def _checked(scope: Scope, raw: bytes, adapter: TypeAdapter[Any]) -> Any:
    """What the body asks; raises InvalidRequest."""
    try:
        value = bodies.value(scope, raw)
    except orjson.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise InvalidRequest(f"The body is not JSON: {error.msg} ({where}).") from error
    if value is None:
        raise errors.validation_error(_MISSING)
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        raise errors.validation_error(error.errors()) from error
