"""What becomes of an app that takes long to be made, while others can answer already?

A thread makes it, once; whoever asks for it meanwhile waits without holding up the event loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send


class Later:
    """Stands for an app that is made when it is first asked, or loaded before."""

    def __init__(self, make: Callable[[], ASGIApp]) -> None:
        self._make = make
        self._app: ASGIApp | None = None
        self._lock = threading.Lock()

    async def load(self) -> ASGIApp:
        """The app, made now unless it is there; raises whatever making it does, and the next call tries again."""
        return await asyncio.to_thread(self._made) if self._app is None else self._app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have the app answer."""
        app = await self.load()
        await app(scope, receive, send)

    def _made(self) -> ASGIApp:
        with self._lock:
            if self._app is None:
                self._app = self._make()
            return self._app
