"""What happens to every request, whatever its route?

Its answer has a request id, and there is an answer even where the service fails.
"""

from __future__ import annotations

import random
import re
from collections.abc import Awaitable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import errors
from service.bodies import header

HEADER = "x-request-id"
_NAME = HEADER.encode()

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")


class Outermost:
    """Gives every answer an `x-request-id`: the caller's own where it sent a plain one.

    An error that nobody has foreseen is answered, unless an answer has begun, and raised all the same for the server
    to log it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and mark the answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = header(scope, _NAME)
        request_id = given if given and _REQUEST_ID.fullmatch(given) else b"%032x" % random.getrandbits(128)
        begun = False

        def marked(message: Message) -> Awaitable[None]:  # no coroutine of its own: there are two messages an answer
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                message["headers"] = [*message.get("headers", ()), (_NAME, request_id)]
            return send(message)

        try:
            await self._app(scope, receive, marked)
        except Exception:
            if not begun:
                await errors.unforeseen()(scope, receive, marked)
            raise
