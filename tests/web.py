"""A web server on a free port of the loopback that gives what it is told to, and breaks off where it is told to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any


@dataclass(frozen=True, slots=True)
class Page:
    """What is answered to a GET of one path."""

    body: bytes | Callable[[], Iterable[bytes]] = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    length: int | None = None
    """The length that is told, where it is not that of the body."""
    chunked: bool = False
    whole: bool = True
    """Whether a chunked body comes with its end."""


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: readers may hang up."""


class Web:
    """The server; only GET of `pages` is known to it."""

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        self.asked: list[tuple[str, Mapping[str, str]]] = []
        """Path and headers of each request."""
        web = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                web.asked.append((self.path, dict(self.headers)))
                answer(self, web.pages.get(self.path, Page(status=404)))

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> Web:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def url(self, path: str) -> str:
        """Where a path is."""
        return f"http://{self.host}{path}"

    def put(self, path: str, body: bytes | Callable[[], Iterable[bytes]], **more: Any) -> str:
        """Answer a GET of the path from now on; returns its URL."""
        self.pages[path] = Page(body, **more)
        return self.url(path)


def answer(handler: BaseHTTPRequestHandler, page: Page) -> None:
    """Send a page, and end the connection."""
    pieces = [page.body] if isinstance(page.body, bytes) else page.body()
    handler.send_response(page.status)
    for name, value in page.headers.items():
        handler.send_header(name, value)
    if page.chunked:
        handler.send_header("Transfer-Encoding", "chunked")
    elif isinstance(page.body, bytes):
        handler.send_header("Content-Length", str(len(page.body) if page.length is None else page.length))
    handler.send_header("Connection", "close")
    handler.end_headers()
    for piece in pieces:
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if page.chunked else piece)
    if page.chunked and page.whole:
        handler.wfile.write(b"0\r\n\r\n")
