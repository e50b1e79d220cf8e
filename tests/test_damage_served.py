"""Does a service ever answer from what is damaged?

Real processes. A service that starts on damaged collections serves the newest good generation of each, and names what
is wrong in /readyz and in its log. One that is at work takes up what is damaged only once it is mended.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from damage import DAMAGES, KINDS, NEW, OLD, SEEN_AT_ONCE, flipped, missing, own_file
from service_support import DEADLINE, Service, publish, until

from indexer import intake, models
from indexer.models import Model
from indexer.storage import CollectionFolder, collection_folder


@pytest.fixture(scope="module")
def model_once(model: Model) -> Iterator[None]:
    """Runs in this process use the model that is loaded already, and fold nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "load", lambda *_: model)
        patch.setattr(intake, "plan_merge", lambda *sizes: [])
        yield


def two_generations(store: Path, name: str) -> CollectionFolder:
    """A collection whose two generations share a segment; item 5 is in the first only, item `new` in the second."""
    publish(store, name, OLD)
    publish(store, name, NEW)
    return collection_folder(store, name)


def as_name(damage: str, kind: str) -> str:
    return f"{damage}-{kind.removeprefix('.')}".replace(" ", "-").replace(".", "-")


def ready(client: httpx.Client) -> dict[str, Any]:
    answer: dict[str, Any] = client.get("/readyz").json()
    return answer


def answered_by(client: httpx.Client, name: str) -> int:
    """The generation that answers, whose items are what it says."""
    answer = client.post(f"/v1/collections/{name}/search", json={"id": "0", "limit": 100})
    assert answer.status_code == 200, answer.text
    number: int = answer.json()["generation"]
    rows = {1: OLD, 2: NEW}[number]
    assert {hit["id"] for hit in answer.json()["hits"]} == {row["id"] for row in rows} - {"0"}
    assert client.get(f"/v1/collections/{name}").json()["generation"] == number
    assert client.get(f"/v1/collections/{name}/items/{rows[-1]['id']}").json()["text"] == rows[-1]["text"]
    return number


def assert_told(client: httpx.Client, service: Service, wrong: Mapping[str, Path]) -> None:
    """What is wrong with generation 2 of each is in /readyz, in the list of collections, and once in the log."""
    found = ready(client)["problems"]
    assert found.keys() == wrong.keys()
    assert client.get("/v1/collections").json()["problems"] == found
    for name, path in wrong.items():
        assert found[name].startswith("Generation 2: ")
        assert str(path) in found[name]
        lines = [line for line in service.log.splitlines() if f"collection {name}: generation 2 is " in line]
        assert len(lines) == 1, lines
        assert str(path) in lines[0]
    assert "Traceback" not in service.log


@pytest.fixture
def store(tmp_path: Path, model_once: None) -> Path:
    return tmp_path / "store"


@pytest.fixture
def stopping() -> Iterator[list[Service]]:
    """Services that are stopped in the end, and killed where that is too late."""
    services: list[Service] = []
    yield services
    for service in services:
        if service.process.poll() is None:
            service.process.kill()
        service.process.wait(DEADLINE)


def started(store: Path, stopping: list[Service]) -> Service:
    stopping.append(Service(store, store.parent / "log"))
    stopping[-1].wait_until_ready()
    return stopping[-1]


def test_a_service_started_on_damaged_collections_serves_the_newest_good_generation_of_each(
    store: Path, stopping: list[Service]
) -> None:
    at_once, later = dict[str, Path](), dict[str, Path]()
    for number, kind in enumerate(KINDS):
        damage = list(SEEN_AT_ONCE)[number % len(SEEN_AT_ONCE)]
        folder = two_generations(store, as_name(damage, kind))
        SEEN_AT_ONCE[damage](path := own_file(folder, 2, kind))
        at_once[folder.name] = path
        folder = two_generations(store, as_name("flipped", kind))
        flipped(path := own_file(folder, 2, kind))
        later[folder.name] = path
    lost = two_generations(store, "lost")
    flipped(shared := own_file(lost, 1, "vectors.f32"))
    two_generations(store, "whole")
    at_once.pop(as_name("missing", ".json"), None)
    service = started(store, stopping)
    with service.client() as client:
        assert {name: answered_by(client, name) for name in at_once} == dict.fromkeys(at_once, 1)
        until(lambda: ready(client)["problems"].keys() == {*at_once, *later, "lost"}, "all checksums to be compared")
        until(
            lambda: len(ready(client)["collections"]) == len(at_once) + len(later) + 1, "older generations to be served"
        )
        assert {name: answered_by(client, name) for name in later} == dict.fromkeys(later, 1)
        assert answered_by(client, "whole") == 2
        refused = client.post("/v1/collections/lost/search", json={"id": "0"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "not_ready")
        message = refused.json()["error"]["message"]
        assert message.count(str(shared)) == 2
        assert "Generation 2: " in message
        assert "Generation 1: " in message
        assert ready(client)["ready"]
        assert_told(client, service, {**at_once, **later, "lost": shared})
        for name in ("lost", "flipped-vectors-f32"):
            assert f"collection {name}: generation 2 is withdrawn: " in service.log
    service.stop()


def test_a_service_at_work_takes_up_nothing_that_is_damaged_and_all_that_is_mended(
    store: Path, tmp_path: Path, stopping: list[Service]
) -> None:
    aside, wrong = tmp_path / "aside", dict[str, Path]()
    chosen = [*(("flipped", kind) for kind in KINDS), ("cut", ".json"), ("a folder", ".json"), ("missing", "ann.faiss")]
    kinds = {as_name(damage, kind): (damage, kind) for damage, kind in chosen}
    for name in kinds:
        publish(store, name, OLD)
    service = started(store, stopping)
    with service.client() as client:
        assert {name: answered_by(client, name) for name in kinds} == dict.fromkeys(kinds, 1)
        for name, (damage, kind) in kinds.items():
            damaged = built_aside(store, aside, name)
            path = own_file(damaged, 2, kind)
            whole = path.read_bytes()
            DAMAGES[damage](path)
            wrong[name] = handed_over(damaged, collection_folder(store, name)) / path.relative_to(damaged.path)
            (aside / f"{name}.whole").write_bytes(whole)
        until(lambda: ready(client)["problems"].keys() == wrong.keys(), "what is damaged to be noticed")
        assert {name: answered_by(client, name) for name in kinds} == dict.fromkeys(kinds, 1)
        assert_told(client, service, wrong)
        for name, path in wrong.items():
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            shutil.copy(aside / f"{name}.whole", path)
        until(lambda: set(ready(client)["collections"].values()) == {2}, "what is mended to be taken up")
        assert {name: answered_by(client, name) for name in kinds} == dict.fromkeys(kinds, 2)
        assert ready(client)["problems"] == {}
        name = next(iter(kinds))
        missing(manifest := own_file(collection_folder(store, name), 2, ".json"))
        until(lambda: ready(client)["collections"][name] == 1, "the generation before the one without a manifest")
        assert answered_by(client, name) == 1
        assert str(manifest) in ready(client)["problems"][name]
    service.stop()


def built_aside(store: Path, aside: Path, name: str) -> CollectionFolder:
    """The collection with its next generation, in another store."""
    shutil.copytree(store / "collections" / name, aside / "collections" / name)
    publish(aside, name, NEW)
    return collection_folder(aside, name)


def handed_over(damaged: CollectionFolder, target: CollectionFolder) -> Path:
    """Publish in a collection what another one has more: first what a manifest names, then the manifest."""
    for segment in damaged.segments.iterdir():
        if not (target.segments / segment.name).exists():
            shutil.copytree(segment, target.segments / segment.name)
    if (damaged.generations / "000002").exists():
        shutil.copytree(damaged.generations / "000002", target.generations / "000002")
    manifest = damaged.generations / "000002.json"
    hidden = target.path / "manifest"
    shutil.copytree(manifest, hidden) if manifest.is_dir() else shutil.copy(manifest, hidden)
    hidden.rename(target.generations / "000002.json")
    return target.path


def test_a_collection_that_cannot_be_looked_at_keeps_nobody_from_the_others(
    store: Path, stopping: list[Service]
) -> None:
    folder = two_generations(store, "unreadable")
    two_generations(store, "whole")
    away = store.parent / "away"
    folder.generations.rename(away)
    folder.generations.write_text("not a folder")
    service = started(store, stopping)
    with service.client() as client:
        assert answered_by(client, "whole") == 2
        assert str(folder.generations) in ready(client)["problems"]["unreadable"]
        assert client.post("/v1/collections/unreadable/search", json={"id": "0"}).status_code == 503
        folder.generations.unlink()
        away.rename(folder.generations)
        until(functools.partial(served, client, "unreadable"), "it to be served once it can be looked at")
        assert answered_by(client, "unreadable") == 2
        assert ready(client)["problems"] == {}
    service.stop()
    assert "collection unreadable: what is newer is not served: " in service.log


def served(client: httpx.Client, name: str) -> bool:
    return name in ready(client)["collections"]
