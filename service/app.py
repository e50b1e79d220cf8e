"""What is the service made of?

What is asked often is answered by `service.direct`. FastAPI, which describes all routes and answers the others, is
loaded by a thread beside the event loop once the collections are open, or when it is needed before: importing it takes
as long as opening a million vectors, and no search needs it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from pydantic import SecretStr
from starlette.datastructures import State
from starlette.types import ASGIApp, Receive, Scope, Send

from service.answering import Answering
from service.direct import Direct
from service.keys import ApiKeys
from service.later import Later
from service.middleware import Outermost
from service.routes import DIRECT, PLAIN, Parts
from service.served import Collections

SECONDS_BETWEEN_LOOKS = 0.05
"""At whether the collections are open."""


class App:
    """The service over what is served, for whoever sends one of the keys, or for all where there are none.

    It opens the collections when it starts, unless they are being opened already.
    """

    def __init__(self, collections: Collections, api_keys: Sequence[SecretStr] = ()) -> None:
        self.state = Parts(collections, Answering())
        self._described = Later(self._describe)
        answering: ASGIApp = Direct(self._described, DIRECT, PLAIN)
        if api_keys:
            answering = ApiKeys(answering, api_keys)
        self._answering = Outermost(answering)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or start and stop (ASGI's lifespan)."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        scope["app"] = self
        await self._answering(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self.state.collections.start()
        loading = asyncio.create_task(self._load_the_rest())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        loading.cancel()
        self.state.collections.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def _load_the_rest(self) -> None:
        while not self.state.collections.looked:
            await asyncio.sleep(SECONDS_BETWEEN_LOOKS)
        await self._described.load()

    def _describe(self) -> ASGIApp:
        from service.described import described

        return described(State({"collections": self.state.collections, "answering": self.state.answering}))
