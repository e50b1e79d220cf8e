"""What is served, what is not and why, and can every item be named in a URL?"""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from service_items import AWKWARD, ITEMS, TYPES
from service_support import as_path, publish, until
from starlette.testclient import TestClient

from indexer import models
from indexer.ann import AnnIndex
from indexer.models import Model
from indexer.providers import Providers
from service.app import App
from service.served import Collections

pytest_plugins = ["service_fixtures"]

BY_ID = {row["id"]: row for row in ITEMS}
FEW = [row for row in ITEMS if row["id"] in ("bread", "soup", "é")]


@pytest.fixture
def loads(model: Model, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The models that an app in this process has loaded, each of which is the one that is loaded already."""
    loaded: list[str] = []

    def load(fingerprint: models.Fingerprint, device: str | None, providers: Providers) -> Model:
        assert fingerprint == model.fingerprint
        loaded.append(fingerprint.name)
        return model

    monkeypatch.setattr("service.served.models.load", load)
    return loaded


@contextmanager
def served(store: Path) -> Iterator[httpx.Client]:
    """A service in this process that has looked at its store once."""
    app = App(Collections(store))
    with TestClient(app) as client:
        until(lambda: "still opening" not in (client.get("/readyz").json()["reason"] or ""), "the first look")
        yield client


def found(client: httpx.Client, collection: str) -> int:
    return client.post(f"/v1/collections/{collection}/search", json={"id": "soup"}).status_code


def flip(path: Path) -> None:
    """Change one byte in the middle of a file that stays as long as it was."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_the_list_names_every_collection_and_each_can_be_asked_for_alone(api: httpx.Client) -> None:
    listed = api.get("/v1/collections").json()
    assert set(listed) == {"collections", "problems"}
    assert [one["name"] for one in listed["collections"]] == ["bare", "notes"]
    assert listed["problems"] == {}
    for one in listed["collections"]:
        alone = api.get(f"/v1/collections/{one['name']}").json()
        assert {**alone, "age_seconds": None} == {**one, "age_seconds": None}
        assert alone["age_seconds"] >= one["age_seconds"] >= 0


def test_a_collection_tells_its_counts_model_and_fields(api: httpx.Client, served_store: Path) -> None:
    notes = api.get("/v1/collections/notes").json()
    assert (notes["generation"], notes["items"], notes["segments"], notes["store_text"]) == (1, len(ITEMS), 1, True)
    assert notes["passages"] > len(ITEMS)
    assert (notes["model"]["name"], notes["model"]["dimension"]) == ("all-MiniLM-L6-v2", 384)
    assert notes["fields"] == {
        "kind": "string",
        "n": "integer",
        "price": "float",
        "fresh": "boolean",
        "day": "datetime",
        "tags": "strings",
    }
    files = (served_store / "collections" / "notes" / "segments").rglob("*.*")
    assert notes["bytes"] == sum(file.stat().st_size for file in files)
    assert datetime.fromisoformat(notes["created_at"]).tzinfo is not None


@pytest.mark.parametrize("id", AWKWARD, ids=ascii)
def test_an_awkward_id_works_in_every_route_that_takes_one(api: httpx.Client, id: str) -> None:
    item = api.get(f"/v1/collections/notes/items/{as_path(id)}").json()
    assert (item["id"], item["text"], item["metadata"].get("n")) == (id, BY_ID[id]["text"], BY_ID[id].get("n"))
    assert item["passages"] == [{"text": item["text"], "start": 0, "end": len(item["text"])}]
    answer = api.post("/v1/collections/notes/search", json={"id": id, "limit": 100}).json()
    assert {hit["id"] for hit in answer["hits"]} == set(BY_ID) - {id}
    by_filter = {"text": "x", "filter": {"id": id}}
    assert [hit["id"] for hit in api.post("/v1/collections/notes/search", json=by_filter).json()["hits"]] == [id]
    batch = api.post("/v1/collections/notes/search/batch", json={"queries": [{"id": id, "limit": 100}]}).json()
    assert batch["results"] == [{"hits": answer["hits"]}]
    both = api.post("/v1/collections/notes/compare", json={"a": {"id": id}, "b": {"id": id}}).json()
    assert both["similarity"] == 1.0


def test_a_slash_in_a_url_is_the_same_encoded_or_not(api: httpx.Client) -> None:
    plain, encoded = (api.get(f"/v1/collections/notes/items/with{slash}slash") for slash in ("/", "%2F"))
    assert plain.status_code == 200
    assert plain.json() == encoded.json()


def test_an_item_has_its_metadata_in_json(api: httpx.Client) -> None:
    item = api.get("/v1/collections/notes/items/what%3F").json()
    assert set(item) == {"collection", "generation", "id", "text", "metadata", "passages"}
    assert item["metadata"] == {
        "kind": "space",
        "n": 10,
        "price": 1000.0,
        "fresh": False,
        "day": "2021-02-18T20:55:00+00:00",
        "tags": ["mars", "orbit"],
    }


def test_the_service_says_that_it_is_alive_and_what_it_serves(api: httpx.Client) -> None:
    assert api.get("/healthz").json() == {"status": "ok"}
    ready = api.get("/readyz")
    assert ready.status_code == 200
    assert ready.json() == {
        "ready": True,
        "reason": None,
        "collections": {"bare": 1, "notes": 1},
        "problems": {},
    }


def test_a_service_is_not_ready_until_something_is_published(tmp_path: Path, loads: list[str]) -> None:
    with served(tmp_path) as client:
        unready = client.get("/readyz")
        assert unready.status_code == 503
        assert (unready.json()["ready"], unready.json()["collections"]) == (False, {})
        assert "`parecido index`" in unready.json()["reason"]
        assert client.get("/healthz").status_code == 200
        assert client.get("/v1/collections").json() == {"collections": [], "problems": {}}
        assert client.get("/v1/collections/few").json()["error"]["code"] == "collection_not_found"
        publish(tmp_path, "few", FEW)
        until(lambda: client.get("/readyz").status_code == 200, "what was published")
        assert client.get("/readyz").json()["collections"] == {"few": 1}
        assert found(client, "few") == 200


@pytest.mark.parametrize("what", ["model", "index"])
def test_a_service_is_not_ready_before_what_the_first_query_would_wait_for_is_done(
    tmp_path: Path, loads: list[str], model: Model, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    publish(tmp_path, "few", FEW)
    cold: Any = type(model) if what == "model" else AnnIndex
    begun, go_on, warm = threading.Event(), threading.Event(), cold.warm

    def slow(*told: object) -> None:
        begun.set()
        go_on.wait()
        warm(*told)

    monkeypatch.setattr(cold, "warm", slow)
    with TestClient(App(Collections(tmp_path))) as client:
        try:
            until(lambda: begun.is_set() or client.get("/readyz").status_code == 200, "the warming")
            unready = client.get("/readyz")
            assert (begun.is_set(), unready.status_code, found(client, "few")) == (True, 503, 503)
            assert "still opening" in unready.json()["reason"]
        finally:
            go_on.set()
        until(lambda: client.get("/readyz").status_code == 200, "the end of the warming")
        assert found(client, "few") == 200


def test_a_collection_that_is_removed_is_not_found_any_more(tmp_path: Path, loads: list[str]) -> None:
    publish(tmp_path, "few", FEW)
    publish(tmp_path, "more", FEW)
    with served(tmp_path) as client:
        assert found(client, "few") == 200
        shutil.rmtree(tmp_path / "collections" / "few")
        until(lambda: found(client, "few") == 404, "its end")
        assert found(client, "more") == 200
        assert client.get("/readyz").json()["collections"] == {"more": 1}


def test_a_new_generation_is_taken_up_without_loading_the_model_again(tmp_path: Path, loads: list[str]) -> None:
    publish(tmp_path, "few", FEW)
    loads.clear()
    with served(tmp_path) as client:
        assert loads == ["all-MiniLM-L6-v2"]
        publish(tmp_path, "few", FEW[1:])
        until(lambda: client.get("/v1/collections/few").json()["generation"] == 2, "generation 2")
        assert client.get("/v1/collections/few").json()["items"] == len(FEW) - 1
    assert loads == ["all-MiniLM-L6-v2"]


def only(folder: Path, pattern: str) -> Path:
    (file,) = folder.rglob(pattern)
    return file


@pytest.mark.parametrize("damage", ["manifest flipped", "vectors truncated", "index removed", "items emptied"])
def test_a_broken_collection_is_named_and_the_others_are_served(tmp_path: Path, loads: list[str], damage: str) -> None:
    for name in ("broken", "whole"):
        publish(tmp_path, name, FEW, types=TYPES)
    folder = tmp_path / "collections" / "broken"
    match damage:
        case "manifest flipped":
            flip(bad := folder / "generations" / "000001.json")
        case "vectors truncated":
            bad = only(folder, "vectors.f32")
            bad.write_bytes(bad.read_bytes()[:-4])
        case "index removed":
            (bad := only(folder, "ann.faiss")).unlink()
        case _:
            (bad := only(folder, "items.arrow")).write_bytes(b"")
    with served(tmp_path) as client:
        ready = client.get("/readyz")
        assert (ready.status_code, ready.json()["collections"]) == (200, {"whole": 1})
        problem = ready.json()["problems"]["broken"]
        assert bad.name in problem
        assert found(client, "whole") == 200
        refused = client.post("/v1/collections/broken/search", json={"text": "x"})
        error: dict[str, Any] = refused.json()["error"]
        assert (refused.status_code, error["code"], error["param"]) == (503, "not_ready", "collection")
        assert problem in error["message"]
        listed = client.get("/v1/collections").json()
        assert [one["name"] for one in listed["collections"]] == ["whole"]
        assert listed["problems"] == {"broken": problem}


def test_when_nothing_can_be_opened_the_service_is_not_ready(tmp_path: Path, loads: list[str]) -> None:
    publish(tmp_path, "broken", FEW)
    flip(tmp_path / "collections" / "broken" / "generations" / "000001.json")
    with served(tmp_path) as client:
        ready = client.get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["reason"] == "No collection could be opened."
        assert "000001.json" in ready.json()["problems"]["broken"]


def test_a_flipped_byte_among_the_vectors_is_found_and_the_collection_withdrawn(
    tmp_path: Path, loads: list[str]
) -> None:
    for name in ("broken", "whole"):
        publish(tmp_path, name, FEW)
    flip(only(tmp_path / "collections" / "broken", "vectors.f32"))
    with served(tmp_path) as client:
        until(lambda: "broken" in client.get("/readyz").json()["problems"], "the check of the checksums")
        assert "vectors.f32" in client.get("/readyz").json()["problems"]["broken"]
        assert (found(client, "broken"), found(client, "whole")) == (503, 200)
        publish(tmp_path, "broken", FEW, rebuild=True)
        until(lambda: found(client, "broken") == 200, "the rebuilt collection")
        assert client.get("/readyz").json()["problems"] == {}


def test_a_damaged_new_generation_leaves_the_old_one_served(tmp_path: Path, loads: list[str]) -> None:
    publish(tmp_path, "few", FEW)
    with served(tmp_path) as client:
        bad = tmp_path / "collections" / "few" / "generations" / "000002.json"
        bad.write_bytes(b"{}")
        until(lambda: client.get("/readyz").json()["problems"] != {}, "the damage to be noticed")
        assert client.get("/readyz").json()["collections"] == {"few": 1}
        assert "000002.json" in client.get("/readyz").json()["problems"]["few"]
        assert found(client, "few") == 200


def test_the_documentation_needs_no_other_host(api: httpx.Client) -> None:
    page = api.get("/docs")
    assert page.status_code == 200
    links = re.findall(r"""(?:src|href)=["']([^"']+)["']""", page.text)
    assert len(links) >= 3
    for link in links:
        assert link.startswith("/static-offline-docs/")
        assert api.get(link).status_code == 200
    assert not re.search(r"https?://", page.text)
    assert "/openapi.json" in page.text
    assert "/v1/collections/{collection}/search" in api.get("/openapi.json").json()["paths"]


def test_a_store_that_cannot_be_read_is_named_in_readyz(tmp_path: Path) -> None:
    (tmp_path / "collections").write_text("a file where a folder should be")
    with TestClient(App(Collections(tmp_path))) as client:
        until(lambda: "not a folder" in client.get("/readyz").json()["reason"], "the reason is named")
        assert client.get("/readyz").status_code == 503
        assert client.get("/healthz").status_code == 200
