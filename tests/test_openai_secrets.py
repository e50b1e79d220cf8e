"""Does the key of the API ever show?"""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from openai_fixtures import configured, providers

from indexer import models
from indexer.errors import ParecidoError
from indexer.models import Model, openai_queries

KEY = "sk-proj-Zq8Zr7Zs6Zt5Zu4Zv3Zw2Zx1"
WORDS = (
    f"Incorrect API key provided: {KEY}, that is {KEY[:8]}***************{KEY[-4:]}, it begins with {KEY[:9]} and ends "
    f"in {KEY[-6:]}"
)


def parts(key: str) -> set[str]:
    """What gives too much of it away."""
    return {key[at : at + 6] for at in range(3, len(key) - 5)}


class Parrot(BaseHTTPRequestHandler):
    """Refuses everything, and quotes the key in doing so."""

    status = 401
    code = "invalid_api_key"

    def do_POST(self) -> None:
        """Answer one request."""
        self.rfile.read(int(self.headers["content-length"]))
        content = json.dumps({"error": {"message": WORDS, "type": "oops", "param": None, "code": self.code}}).encode()
        self.send_response(self.status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


def stream(model: Model) -> None:
    """Ask as a run does."""
    for answer in model.embed_stream(["a", "b"]):
        assert not any(part in repr(answer) for part in parts(KEY))


@pytest.mark.parametrize("ask", [lambda model: model.embed_query(["a"]), stream])
@pytest.mark.parametrize(
    ("status", "code"),
    [(400, ""), (401, "invalid_api_key"), (403, ""), (404, "model_not_found"), (405, ""), (413, ""), (422, ""),
     (429, "insufficient_quota"), (429, "rate_limit_exceeded"), (500, ""), (503, "")],
)  # fmt: skip
def test_no_error_and_no_log_has_the_key_though_the_server_quotes_it(
    ask: Callable[[Model], None],
    status: int,
    code: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(openai_queries, "AT_MOST", 0.2)
    caplog.set_level(logging.DEBUG)
    handler = type("Handler", (Parrot,), {"status": status, "code": code})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        known = providers(f"http://someone:{KEY}@127.0.0.1:{server.server_port}/v1", key=KEY, give_up_seconds=0.2)
        model = models.load(models.identify(configured(), known), providers=known)
        shown = []
        try:
            ask(model)
        except ParecidoError as error:
            shown = [*traceback.format_exception(error), error.message, repr(error), json.dumps(error.to_json())]
        server.shutdown()
        thread.join()
    assert shown or status in (400, 413, 422)
    shown += [caplog.text, repr(model), repr(vars(model)), repr(known), repr(model.fingerprint)]
    shown += [repr(record.args) for record in caplog.records]
    assert [part for part in parts(KEY) for text in shown if part in text] == []
    assert any(record.name.startswith("httpx") for record in caplog.records)


@pytest.mark.parametrize("key", ["sk-ab cd", "sk-abcdé", "sk-abcd\nx"])
def test_a_key_that_no_header_can_hold_is_named_and_not_shown(key: str) -> None:
    known = providers("http://127.0.0.1:9/v1", key=key)
    model = models.load(models.identify(configured(), known), providers=known)
    with pytest.raises(ParecidoError, match="OPENAI_API_KEY holds characters") as caught:
        model.embed_query(["a"])
    assert "abcd" not in "".join(traceback.format_exception(caught.value))
