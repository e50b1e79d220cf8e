"""A server on the loopback that speaks OpenAI's API, keeps a ledger of what it was asked, and misbehaves on command.

Run in a thread (`OpenAIServer`), or as a process of its own that outlives its clients (`OpenAIProcess`, or
`python tests/openai_server.py`, which prints its URL). Both take the same orders.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import uvicorn
from openai_api import Api, Settings
from openai_embeddings import EmbeddingModel, packaged, stand_in, vocabulary
from openai_ledger import EMBEDDINGS, Ledger
from uvicorn.protocols.http.h11_impl import H11Protocol

KEY = "sk-test"


class Orders:
    """What the server can be told at any time, wherever it runs."""

    def order(self, order: Mapping[str, Any]) -> Any:
        """Tell it."""
        raise NotImplementedError

    def plan(self, *kinds: str, on: str = EMBEDDINGS, seconds: float = 0.05, times: int = 1) -> None:
        """These acts of mischief, one after the other, for the next requests of a route."""
        self.order({"plan": [{"kind": kind, "on": on, "seconds": seconds, "times": times} for kind in kinds]})

    def mix(self, *kinds: str, share: float = 0.3, seed: int = 0, seconds: float = 0.05, on: str = EMBEDDINGS) -> None:
        """From now on one of these for a share of the requests of a route; without kinds, none any more."""
        more = {"share": share, "seed": seed, "seconds": seconds} if kinds else {}
        self.order({"mix": {"kinds": list(kinds), "on": on, **more}})

    def fate(self, kind: str, share: float = 0.5, seed: int = 0) -> None:
        """What becomes of the next batch that is created, see `openai_batches.Fate`."""
        self.order({"fate": {"kind": kind, "share": share, "seed": seed}})

    def advance(self, steps: int = 1, id: str | None = None) -> None:
        """Let a batch, or all of them, go so many steps."""
        self.order({"advance": {"steps": steps, "id": id}})

    def set(self, **changes: Any) -> None:
        """Change settings, see `openai_api.Settings`."""
        self.order({"set": changes})


class _Protocol(H11Protocol):
    """HTTP/1.1 whose application may hang up."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        app = self.app

        async def with_transport(scope: Any, receive: Any, send: Any) -> None:
            await app({**scope, "transport": transport}, receive, send)

        self.app = with_transport


def _uvicorn(api: Api) -> uvicorn.Server:
    config = uvicorn.Config(
        api, http=_Protocol, ws="none", lifespan="off", log_config=None, log_level="critical",
        access_log=False, timeout_keep_alive=600, timeout_graceful_shutdown=5, interface="asgi3",
    )  # fmt: skip
    return uvicorn.Server(config)


class OpenAIServer(Orders):
    """The server in a thread of this process, while it is entered."""

    def __init__(
        self,
        models: Mapping[str, EmbeddingModel] | None = None,
        ledger: Path | None = None,
        spoiled_apart: bool = False,
        port: int = 0,
        **settings: Any,
    ) -> None:
        vocabulary()  # now, as it looks into the environment, which belongs to the test
        self.ledger = Ledger(ledger, spoiled_apart)
        self.api = Api(models or default_models(), self.ledger, Settings(**settings))
        self._socket = socket.create_server(("127.0.0.1", port), backlog=512)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1"
        self._server = _uvicorn(self.api)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]})

    @property
    def key(self) -> str:
        """The key it takes."""
        return self.api.settings.key

    def order(self, order: Mapping[str, Any]) -> None:
        """Tell it."""
        self.api.order(order)

    def __enter__(self) -> OpenAIServer:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.api.closing = self._server.should_exit = True
        self._thread.join()
        self._socket.close()
        self.ledger.close()


class OpenAIProcess(Orders):
    """The server as a process of its own, while it is entered; `arguments` are those of its command line."""

    def __init__(self, ledger: Path, *arguments: str, spoiled_apart: bool = False) -> None:
        self.path, self.spoiled_apart = ledger, spoiled_apart
        self.key = KEY
        self._arguments = [sys.executable, str(Path(__file__)), "--ledger", str(ledger), *arguments]
        self.url = ""

    def __enter__(self) -> OpenAIProcess:
        self.process = subprocess.Popen(self._arguments, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        assert self.url, "the server did not start"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    @property
    def ledger(self) -> Ledger:
        """What it has written so far."""
        return Ledger.read(self.path, self.spoiled_apart)

    def order(self, order: Mapping[str, Any]) -> Any:
        """Tell it, and hear how it stands."""
        url = self.url.removesuffix("/v1") + "/control"
        request = urllib.request.Request(url, json.dumps(order).encode(), {"content-type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)


def default_models(make: Callable[[int], EmbeddingModel] = stand_in) -> dict[str, EmbeddingModel]:
    """OpenAI's three names, as stand-ins of dimension 16, 32 and 16."""
    return {
        "text-embedding-3-small": make(16),
        "text-embedding-3-large": make(32),
        "text-embedding-ada-002": stand_in(16, shortens=False),
    }


def real_models() -> dict[str, EmbeddingModel]:
    """OpenAI's three names, all of them the packaged model."""
    return {
        "text-embedding-3-small": packaged(),
        "text-embedding-3-large": packaged(),
        "text-embedding-ada-002": packaged(shortens=False),
    }


def _models(given: Sequence[str]) -> dict[str, EmbeddingModel]:
    found = default_models()
    for each in given:
        name, _, what = each.partition("=")
        found[name] = packaged() if what == "packaged" else stand_in(int(what))
    return found


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--ledger", type=Path)
    parser.add_argument("--model", action="append", default=[], help="NAME=DIMENSION of a stand-in, or NAME=packaged")
    parser.add_argument("--order", type=json.loads, default={}, help="a first order, JSON as for POST /control")
    arguments = parser.parse_args()
    server = OpenAIServer(_models(arguments.model), arguments.ledger, port=arguments.port)
    server.order(arguments.order)
    sys.stdout.write(server.url + "\n")
    sys.stdout.flush()
    with server:
        threading.Event().wait()


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main()
