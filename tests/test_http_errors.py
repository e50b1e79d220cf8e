"""Is every error the same envelope, with the right status, a stable code, and the name of what is wrong?"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from starlette.testclient import TestClient

from indexer import errors
from indexer.errors import ParecidoError
from service import routes
from service.app import App
from service.bodies import MAX_BODY
from service.errors import STATUSES
from service.served import Collections

pytest_plugins = ["service_fixtures"]

SEARCH = "/v1/collections/notes/search"
BATCH = "/v1/collections/notes/search/batch"
COMPARE = "/v1/collections/notes/compare"
JSON = {"content-type": "application/json"}
UNIT = [1.0] + [0.0] * 383


def error_of(answer: httpx.Response) -> dict[str, Any]:
    """The error of an answer, once its envelope is what is promised."""
    body = answer.json()
    assert set(body) == {"error"}
    error: dict[str, Any] = body["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert isinstance(error["message"], str)
    assert error["message"].endswith((".", "?"))
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    return error


def refused(answer: httpx.Response, status: int, code: str, param: str | None = None) -> str:
    """The message, once status, code and param are these."""
    error = error_of(answer)
    assert (answer.status_code, error["code"], error["param"]) == (status, code, param), error["message"]
    return str(error["message"])


QUERIES: list[tuple[dict[str, Any], int, str, str | None]] = [
    ({}, 422, "invalid_request", "text"),
    ({"text": "x", "id": "soup"}, 422, "invalid_request", "text"),
    ({"id": "soup", "vector": UNIT}, 422, "invalid_request", "text"),
    ({"text": " \n"}, 422, "invalid_request", "text"),
    ({"text": "x" * 100_001}, 413, "input_too_long", "text"),
    ({"text": 7}, 422, "invalid_request", "text"),
    ({"id": "nobody"}, 404, "item_not_found", "id"),
    ({"id": ""}, 404, "item_not_found", "id"),
    ({"vector": UNIT[1:]}, 422, "dimension_mismatch", "vector"),
    ({"vector": []}, 422, "dimension_mismatch", "vector"),
    ({"vector": [0.0] * 384}, 422, "invalid_request", "vector"),
    ({"vector": [1e308] * 384}, 422, "invalid_request", "vector"),
    ({"vector": ["1", *UNIT[1:]]}, 422, "invalid_request", "vector.0"),
    ({"text": "x", "colour": 1}, 422, "invalid_request", "colour"),
    ({"text": "x", "limit": 0}, 422, "invalid_request", "limit"),
    ({"text": "x", "limit": 1001}, 422, "invalid_request", "limit"),
    ({"text": "x", "limit": "10"}, 422, "invalid_request", "limit"),
    ({"text": "x", "limit": 10**30}, 422, "invalid_request", "limit"),
    ({"text": "x", "offset": -1}, 422, "invalid_request", "offset"),
    ({"text": "x", "limit": 10, "offset": 9_991}, 422, "invalid_request", "offset"),
    ({"text": "x", "min_similarity": 1.5}, 422, "invalid_request", "min_similarity"),
    ({"text": "x", "min_similarity": True}, 422, "invalid_request", "min_similarity"),
    ({"text": "x", "include": ["colour"]}, 422, "invalid_request", "include.0"),
    ({"text": "x", "include": "text"}, 422, "invalid_request", "include"),
    ({"text": "x", "model": "another"}, 409, "model_mismatch", "model"),
    ({"text": "x", "generation": 99}, 409, "generation_not_found", "generation"),
    ({"text": "x", "filter": ["n"]}, 422, "invalid_request", "filter"),
    ({"text": "x", "filter": {"colour": 1}}, 422, "invalid_filter", "filter.colour"),
    ({"text": "x", "filter": {"n": {"$near": 1}}}, 422, "invalid_filter", "filter.n.$near"),
    ({"text": "x", "filter": {"n": {"$lt": "many"}}}, 422, "invalid_filter", "filter.n.$lt"),
    ({"text": "x", "filter": {"day": "soon"}}, 422, "invalid_filter", "filter.day"),
    ({"text": "x", "filter": {"fresh": {"$gt": True}}}, 422, "invalid_filter", "filter.fresh.$gt"),
    ({"text": "x", "filter": {"$or": []}}, 422, "invalid_filter", "filter.$or"),
]


@pytest.mark.parametrize(("body", "status", "code", "param"), QUERIES, ids=lambda value: str(value)[:60])
def test_a_wrong_query_is_refused_by_name_alone_and_in_a_batch(
    api: httpx.Client, body: dict[str, Any], status: int, code: str, param: str | None
) -> None:
    message = refused(api.post(SEARCH, json=body), status, code, param)
    (result,) = api.post(BATCH, json={"queries": [body]}).json()["results"]
    assert result["error"]["message"] == message
    assert (result["error"]["code"], result["error"]["param"]) == (code, param)


def test_the_largest_allowed_values_are_allowed(api: httpx.Client) -> None:
    for body in (
        {"text": "soup".ljust(100_000), "limit": 1},
        {"vector": UNIT, "limit": 1000, "offset": 9000},
        {"text": "x", "model": "all-MiniLM-L6-v2", "generation": 1, "min_similarity": -1},
    ):
        assert api.post(SEARCH, json=body).status_code == 200
    assert len(api.post(BATCH, json={"queries": [{"id": "soup"}] * 100}).json()["results"]) == 100


def test_a_model_mismatch_names_both_models(api: httpx.Client) -> None:
    for answer in (
        api.post(SEARCH, json={"text": "x", "model": "another"}),
        api.post(COMPARE, json={"a": {"id": "soup"}, "b": {"id": "bread"}, "model": "another"}),
    ):
        message = refused(answer, 409, "model_mismatch", "model")
        assert "'another'" in message
        assert "'all-MiniLM-L6-v2'" in message


def test_a_query_for_another_generation_is_told_the_current_one(api: httpx.Client) -> None:
    answer = api.post(SEARCH, json={"text": "x", "generation": 99})
    assert "the current one is 1" in refused(answer, 409, "generation_not_found", "generation")


def test_a_batch_takes_1_to_100_queries_and_nothing_else(api: httpx.Client) -> None:
    refused(api.post(BATCH, json={"queries": [{"id": "soup"}] * 101}), 422, "invalid_request", "queries")
    refused(api.post(BATCH, json={"queries": []}), 422, "invalid_request", "queries")
    refused(api.post(BATCH, json={"queries": {"id": "soup"}}), 422, "invalid_request", "queries")
    refused(api.post(BATCH, json={"queries": [{"id": "soup"}], "limit": 3}), 422, "invalid_request", "limit")
    refused(api.post(BATCH, json={}), 422, "invalid_request", "queries")


@pytest.mark.parametrize(
    ("changed", "status", "code", "param"),
    [
        ({"a": {"id": "nobody"}}, 404, "item_not_found", "a.id"),
        ({"b": {"id": "nobody"}}, 404, "item_not_found", "b.id"),
        ({"a": {}}, 422, "invalid_request", "a"),
        ({"b": {"id": "soup", "text": "soup"}}, 422, "invalid_request", "b"),
        ({"b": {"text": ""}}, 422, "invalid_request", "b.text"),
        ({"b": {"text": "x" * 100_001}}, 413, "input_too_long", "b.text"),
        ({"a": {"id": "soup", "colour": 1}}, 422, "invalid_request", "a.colour"),
        ({"a": "soup"}, 422, "invalid_request", "a"),
        ({"a": None}, 422, "invalid_request", "a"),
        ({"pairs": 0}, 422, "invalid_request", "pairs"),
        ({"pairs": 101}, 422, "invalid_request", "pairs"),
        ({"colour": 1}, 422, "invalid_request", "colour"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_wrong_comparison_is_refused_by_name(
    api: httpx.Client, changed: dict[str, Any], status: int, code: str, param: str
) -> None:
    body = {"a": {"id": "soup"}, "b": {"id": "bread"}, **changed}
    refused(api.post(COMPARE, json=body), status, code, param)


def test_an_unknown_collection_is_not_found_on_every_route_and_the_others_are_named(api: httpx.Client) -> None:
    for answer in (
        api.get("/v1/collections/nothing"),
        api.get("/v1/collections/%2E%2E"),
        api.get("/v1/collections/nothing/items/soup"),
        api.post("/v1/collections/nothing/search", json={"text": "x"}),
        api.post("/v1/collections/nothing/search/batch", json={"queries": [{"text": "x"}]}),
        api.post("/v1/collections/nothing/compare", json={"a": {"id": "x"}, "b": {"id": "x"}}),
    ):
        assert "bare, notes" in refused(answer, 404, "collection_not_found", "collection")


def test_an_unknown_item_is_not_found(api: httpx.Client) -> None:
    assert "'nobody'" in refused(api.get("/v1/collections/notes/items/nobody"), 404, "item_not_found")


@pytest.mark.parametrize("route", [SEARCH, BATCH, COMPARE])
@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"",
        b"null",
        b"[]",
        b'"text"',
        b'{"text": "x"} {}',
        b'{"text": "\\ud800"}',
        b'{"text": "\xff"}',
        b'{"vector": [NaN]}',
        b'{"vector": [Infinity]}',
        b"[" * 100_000,
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_not_a_json_object_is_refused(api: httpx.Client, route: str, content: bytes) -> None:
    refused(api.post(route, content=content, headers=JSON), 422, "invalid_request")


def test_it_is_told_where_a_body_is_no_json(api: httpx.Client) -> None:
    message = refused(
        api.post(SEARCH, content=b'{"limit": 1,\n "vector": [0.5, NaN]}', headers=JSON), 422, "invalid_request"
    )
    assert message.endswith("(line 2, column 18).")


def test_a_body_that_is_not_declared_as_json_is_refused_and_told_how(api: httpx.Client) -> None:
    for headers in ({}, {"content-type": "text/plain"}, {"content-type": "application/x-www-form-urlencoded"}):
        message = refused(api.post(SEARCH, content=b'{"text": "x"}', headers=headers), 422, "invalid_request")
        assert "content-type: application/json" in message


def test_a_body_over_the_maximum_is_refused_whether_its_length_is_announced_or_not(api: httpx.Client) -> None:
    def blocks(count: int) -> Iterator[bytes]:
        return (b" " * (1 << 20) for _ in range(count))

    for content in (b" " * (MAX_BODY + 1), blocks(9)):
        message = refused(api.post(SEARCH, content=content, headers=JSON), 413, "input_too_long")
        assert str(MAX_BODY) in message
    padded = b'{"id": "soup"}'.ljust(MAX_BODY)
    assert api.post(SEARCH, content=padded, headers=JSON).status_code == 200


def test_a_body_that_is_announced_as_too_large_is_refused_before_it_is_sent(api: httpx.Client) -> None:
    lines = [f"POST {SEARCH} HTTP/1.1", "host: x", "content-type: application/json", f"content-length: {MAX_BODY + 1}"]
    with socket.create_connection((api.base_url.host, api.base_url.port), timeout=60) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


def test_an_unknown_route_and_a_wrong_method_are_told_in_the_envelope(api: httpx.Client) -> None:
    for path in ("/", "/v1", "/v1/collections/", "/v1/collections/notes/items", "/static-offline-docs/none"):
        assert path in refused(api.get(path), 404, "not_found")
    for method, path, allowed in (
        ("GET", SEARCH, "POST"),
        ("PUT", COMPARE, "POST"),
        ("DELETE", "/v1/collections/notes", "GET"),
        ("POST", "/v1/collections/notes/items/soup", "GET"),
    ):
        answer = api.request(method, path)
        refused(answer, 405, "method_not_allowed")
        assert answer.headers["allow"] == allowed


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/v1/collections", "/docs", "/openapi.json", "/none"])
def test_every_answer_has_a_request_id_and_a_plain_one_comes_back(api: httpx.Client, path: str) -> None:
    first, second = (api.get(path).headers["x-request-id"] for _ in range(2))
    assert first != second
    assert api.get(path, headers={"x-request-id": "Order_66.b-1"}).headers.get_list("x-request-id") == ["Order_66.b-1"]
    for strange in ("", "two words", "x" * 129, "<script>"):
        assert api.get(path, headers={"x-request-id": strange}).headers["x-request-id"] != strange


def test_a_failure_of_the_service_itself_is_told_in_the_envelope_without_its_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(request: object) -> object:
        raise RuntimeError("a secret")

    monkeypatch.setattr(routes, "_collections", broken)
    with TestClient(App(Collections(tmp_path)), raise_server_exceptions=False) as client:
        answer = client.get("/v1/collections", headers={"x-request-id": "mine"})
    message = refused(answer, 500, "internal_error")
    assert "secret" not in message
    assert answer.headers["x-request-id"] == "mine"


def subclasses(kind: type[ParecidoError]) -> set[type[ParecidoError]]:
    return {kind}.union(*map(subclasses, kind.__subclasses__()))


def test_every_error_of_the_library_has_a_status() -> None:
    tree = subclasses(ParecidoError)
    assert {one for one in tree if one.__module__ == errors.__name__} == set(STATUSES)
    assert set(STATUSES.values()) <= {400, 401, 404, 409, 413, 422, 500, 502, 503}
