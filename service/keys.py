"""Does a request come with an API key?

Where there are keys, every path asks for one but those of OPEN, which hold nothing of any collection's content.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from pydantic import SecretStr
from starlette.types import ASGIApp, Receive, Scope, Send

from indexer.errors import Unauthorized
from service.errors import STATUSES, envelope

OPEN = ("/healthz", "/readyz", "/docs", "/openapi.json")
"""For whoever watches the service, and for the page where a person enters a key."""
OPEN_BELOW = "/static-offline-docs/"
"""What the page is made of."""

_SCHEME = b"bearer "


class ApiKeys:
    """Passes on what comes with one of the keys and what is open to all; answers 401 to the rest, its body unread."""

    def __init__(self, app: ASGIApp, keys: Sequence[SecretStr]) -> None:
        self._app = app
        self._keys = [key.get_secret_value().encode() for key in keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] == "lifespan" or _is_open(scope["path"]):
            await self._app(scope, receive, send)
            return
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if len(given) == 1 and self._knows(given[0]):
            await self._app(scope, receive, send)
            return
        await _refusal(bool(given))(scope, receive, send)

    def _knows(self, header: bytes) -> bool:
        """Whether it is `Bearer` and one of the keys; every key is compared, each in constant time."""
        scheme, key = header[: len(_SCHEME)], header[len(_SCHEME) :].strip()
        matches = [hmac.compare_digest(key, known) for known in self._keys]
        return scheme.lower() == _SCHEME and any(matches)


def _is_open(path: str) -> bool:
    return path in OPEN or path.startswith(OPEN_BELOW)


def _refusal(had_header: bool) -> ASGIApp:
    what = "not one that this service knows" if had_header else "missing"
    error = Unauthorized(f"The API key is {what}: send one of the service's keys as `Authorization: Bearer KEY`.")
    return envelope(STATUSES[Unauthorized], error.to_json(), {"www-authenticate": "Bearer"})
