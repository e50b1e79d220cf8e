"""Does a service answer what is asked often before it has loaded what few ask for, and that once it is there?"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from service_support import environment, until
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from starlette.types import ASGIApp
from support import Place, StandIn

from service import described
from service.app import App
from service.later import Later
from service.served import Collections

NOT_NEEDED = (
    *(
        "fastapi",
        "indexer.prices",
        "indexer.report",
        "indexer.status",
        "openai",
        "pyarrow.compute",
        "service.described",
    ),
    *("sentence_transformers", "tokenizers", "torch", "transformers"),
)
HELLO = PlainTextResponse("hello")


def imported(here: Path, program: str) -> set[str]:
    """What a process has imported after a program."""
    program += "\nimport sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=here, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_a_service_needs_few_modules_to_answer(tmp_path: Path) -> None:
    found = imported(
        tmp_path, "import service.cli, uvicorn\nfrom service.app import App, Collections\nApp(Collections('.'))"
    )
    assert found.isdisjoint(NOT_NEEDED), found & set(NOT_NEEDED)
    assert {"faiss", "pyarrow", "service.routes", "uvicorn"} <= found


def test_what_is_asked_often_is_answered_while_the_rest_is_loaded(
    tmp_path: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path)
    place.run([{"id": "a", "text": "one"}, {"id": "b", "text": "two"}])
    begun, go_on, real = threading.Event(), threading.Event(), described.described

    def slow(state: object) -> ASGIApp:
        begun.set()
        go_on.wait()
        return real(state)  # type: ignore[arg-type]

    monkeypatch.setattr(described, "described", slow)
    with TestClient(App(Collections(place.store))) as client, ThreadPoolExecutor() as threads:
        try:
            until(lambda: client.get("/readyz").status_code == 200, "/readyz")
            until(begun.is_set, "the rest is being loaded, though nobody has asked for it")
            listed = threads.submit(client.get, "/v1/collections")
            assert client.get("/healthz").json() == {"status": "ok"}
            (hit,) = client.post(f"/v1/collections/{place.name}/search", json={"id": "a"}).json()["hits"]
            assert hit["id"] == "b"
            assert not listed.done()
        finally:
            go_on.set()
        assert [one["name"] for one in listed.result().json()["collections"]] == [place.name]
        assert "/v1/collections" in client.get("/openapi.json").json()["paths"]
        assert client.post("/healthz").status_code == 405


def test_an_app_is_made_once_whoever_asks_first() -> None:
    made: list[ASGIApp] = []
    at_once = threading.Barrier(2)

    def make() -> ASGIApp:
        made.append(HELLO)
        return HELLO

    later = Later(make)

    def load() -> ASGIApp:
        at_once.wait()
        return asyncio.run(later.load())

    with ThreadPoolExecutor() as threads:
        found = [threads.submit(load) for _ in range(2)]
    assert [one.result() for one in found] == [HELLO, HELLO]
    assert TestClient(later).get("/").text == "hello"
    assert made == [HELLO]


def test_an_app_that_could_not_be_made_is_made_when_it_is_asked_again() -> None:
    outcomes = iter([RuntimeError("no memory"), HELLO])

    def make() -> ASGIApp:
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    client = TestClient(Later(make))
    with pytest.raises(RuntimeError, match="no memory"):
        client.get("/")
    assert client.get("/").text == "hello"
