"""Does a service with API keys answer those who have one, and nobody else?"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from service_support import Service, ready
from starlette.datastructures import State

from indexer.access import Access, read_access
from indexer.config import load
from indexer.errors import ConfigurationError
from service.described import described
from service.keys import OPEN

pytest_plugins = ["service_fixtures"]

FIRST, SECOND = "the-key-of-the-shop", "Zm9yIHRoZSBsaWJyYXJ5=="


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, served_store: Path) -> Iterator[Service]:
    """A service that asks for one of two keys."""
    log = tmp_path_factory.mktemp("guarded") / "log"
    with ready(Service(served_store, log, PARECIDO_API_KEYS=f"{FIRST},{SECOND}")) as service:
        yield service


@pytest.fixture
def stranger(guarded: Service) -> Iterator[httpx.Client]:
    """A client without a key."""
    with guarded.client() as client:
        yield client


def refused(answer: httpx.Response) -> dict[str, Any]:
    """The error of an answer that says nothing but that a key is wanted."""
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["x-request-id"]
    body = answer.json()
    assert set(body) == {"error"}
    assert (body["error"]["code"], body["error"]["type"]) == ("unauthorized", "authentication_error")
    error: dict[str, Any] = body["error"]
    return error


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def test_each_of_the_keys_opens_every_route(stranger: httpx.Client) -> None:
    for headers in (bearer(FIRST), bearer(SECOND), {"authorization": f"bearer  {FIRST}"}):
        assert stranger.get("/v1/collections/notes", headers=headers).json()["name"] == "notes"
        found = stranger.post("/v1/collections/notes/search", json={"text": "bake bread"}, headers=headers)
        assert found.json()["hits"][0]["id"] == "bread"


def test_every_route_but_the_open_ones_wants_a_key(stranger: httpx.Client, tmp_path: Path) -> None:
    paths = described(State()).openapi()["paths"]
    asked = [(method, path) for path, methods in paths.items() if path not in OPEN for method in methods]
    assert len(asked) >= 6
    for method, path in asked:
        answer = stranger.request(method, re.sub(r"\{\w+\}", "notes", path))
        assert "missing" in refused(answer)["message"]
    for path in ("/", "/none", "/v1", "/v1/collections/secret", "/healthz/", "/healthz/../v1/collections", "//docs"):
        refused(stranger.get(path))
    refused(stranger.request("OPTIONS", "/v1/collections"))


def test_what_holds_no_content_is_open_to_all(stranger: httpx.Client) -> None:
    for path in OPEN:
        assert stranger.get(path).status_code == 200
    assets = re.findall(r'"(/static-offline-docs/[^"]+)"', stranger.get("/docs").text)
    assert len(assets) >= 2
    for path in assets:
        assert stranger.get(path).status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        "Bearer",
        FIRST,
        f"Basic {FIRST}",
        f"Bearer {FIRST[:-1]}",
        f"Bearer {FIRST}x",
        f"Bearer {FIRST.upper()}",
        f"Bearer {FIRST},{SECOND}",
        f"Bearer {SECOND[:-1]}",
        f"Bearer\t{FIRST}",
        "Bearer schlüssel-für-alle",
    ],
)
def test_what_is_not_exactly_a_key_is_refused(stranger: httpx.Client, header: str) -> None:
    answer = stranger.get("/v1/collections", headers={b"authorization": header.encode("latin-1")})
    assert "not one that this service knows" in refused(answer)["message"]


def test_two_headers_are_not_better_than_one(stranger: httpx.Client) -> None:
    both = [("authorization", f"Bearer {FIRST}"), ("authorization", "Bearer another")]
    refused(stranger.get("/v1/collections", headers=both))


def test_a_refusal_does_not_wait_for_the_body(guarded: Service) -> None:
    host, port = guarded.address().removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as opened:
        opened.sendall(
            b"POST /v1/collections/notes/search HTTP/1.1\r\nhost: here\r\ncontent-type: application/json\r\n"
            b"content-length: 1000\r\nexpect: 100-continue\r\n\r\n"
        )
        assert opened.recv(1024).startswith(b"HTTP/1.1 401 ")


def test_no_key_is_ever_written_down(guarded: Service, stranger: httpx.Client) -> None:
    stranger.get("/v1/collections", headers=bearer(FIRST))
    stranger.get("/v1/collections", headers=bearer(FIRST + "x"))
    assert "for those who send an API key (2 known)" in guarded.log
    settings = load(None, {"PARECIDO_API_KEYS": f"{FIRST},{SECOND}"})
    for text in (guarded.log, repr(settings), str(settings), settings.model_dump_json()):
        assert FIRST not in text
        assert SECOND not in text
    assert [key.get_secret_value() for key in settings.access.api_keys] == [FIRST, SECOND]


def test_without_keys_nobody_is_asked_for_one(api: httpx.Client, service: Service) -> None:
    assert api.get("/v1/collections", headers=bearer("whatever-it-may-be")).status_code == 200
    assert "for anyone who reaches it" in service.log


def test_docs_offer_to_enter_a_key_for_what_wants_one(tmp_path: Path) -> None:
    file = described(State()).openapi()
    (scheme,) = file["components"]["securitySchemes"].items()
    assert (scheme[1]["type"], scheme[1]["scheme"]) == ("http", "bearer")
    for path, methods in file["paths"].items():
        for operation in methods.values():
            assert operation.get("security", []) == ([] if path in OPEN else [{scheme[0]: []}])
            assert ("401" in operation["responses"]) is (path not in OPEN)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("", "key 1 of 1: it is empty"),
        (f"{FIRST},,{SECOND}", "key 2 of 3: it is empty"),
        (f"{FIRST},", "key 2 of 2: it is empty"),
        (f"{FIRST}, {SECOND}", "key 2 of 2: there is white space"),
        (f"{FIRST}\n", "key 1 of 1: there is white space"),
        ("two words and more", "key 1 of 1: there is white space"),
        (f"{FIRST},short", "key 2 of 2: it has 5 characters, and at least 16 are needed"),
        ('"quoted-in-a-file"', "key 1 of 1: a key is of letters, digits"),
        ("schlüssel-für-alle", "key 1 of 1: a key is of letters, digits"),
    ],
)
def test_a_key_that_is_none_is_refused_without_being_told(keys: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_access({"PARECIDO_API_KEYS": keys})
    assert message in caught.value.message
    for part in (FIRST, SECOND, "short", "quoted", "words", "schl"):
        assert part not in caught.value.message


@pytest.mark.parametrize("name", ["api_keys", "access"])
def test_a_key_in_a_file_is_refused_without_being_told(tmp_path: Path, name: str) -> None:
    file = tmp_path / "parecido.toml"
    file.write_text(f'{name} = ["{FIRST}"]\n', encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        load(file, {})
    assert "PARECIDO_API_KEYS" in caught.value.message
    assert FIRST not in caught.value.message


def test_anyone_is_allowed_by_a_clear_word_only() -> None:
    assert read_access({}) == Access()
    for word, meaning in (("1", True), ("true", True), ("YES", True), ("0", False), ("no", False), ("", False)):
        assert read_access({"PARECIDO_ALLOW_ANYONE": word}).allow_anyone is meaning
    with pytest.raises(ConfigurationError, match="PARECIDO_ALLOW_ANYONE is 1 or 0"):
        read_access({"PARECIDO_ALLOW_ANYONE": "maybe"})
