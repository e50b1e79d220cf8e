"""How long may an answer with vectors take?

From when it was asked for to the last byte no longer than its timeout, and the wait for one more piece: a transport by
itself waits so long for each piece, and so for ever where an answer drips in. Files, which are large, may take longer.
Imported with openai, whose client this is.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from httpx2 import Client, ReadTimeout, Request, Response, SyncByteStream
from openai import DefaultHttpxClient

DUE = "parecido_due"
"""When the last byte of an answer has to be there, among the extensions of its request."""


def punctual_client() -> Client:
    """A client whose answers with vectors are there in time, or have failed by a timeout."""
    return _PunctualClient(event_hooks={"request": [_sent], "response": [_began]})


class _PunctualClient(DefaultHttpxClient):
    """As openai's own, that hangs up when it is forgotten."""

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.close()


def _sent(request: Request) -> None:
    if request.url.path.endswith("/embeddings"):
        request.extensions[DUE] = time.monotonic() + request.extensions["timeout"]["read"]


def _began(response: Response) -> None:
    due = response.request.extensions.get(DUE)
    if due is not None and isinstance(response.stream, SyncByteStream):
        response.stream = _Punctual(response.stream, due)


class _Punctual(SyncByteStream):
    """A body that fails where it is not all there by then."""

    def __init__(self, pieces: SyncByteStream, due: float) -> None:
        self._pieces, self._due = pieces, due

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            if time.monotonic() > self._due:
                raise ReadTimeout("the answer came too slowly")
            yield piece

    def close(self) -> None:
        """Hang up where it was not read to its end."""
        self._pieces.close()
