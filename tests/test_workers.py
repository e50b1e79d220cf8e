"""Do several workers answer as one does, outlive each other, follow what is published, and end as they are asked to?"""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import pytest
from service_support import FEW, Service, publish, until

WORKERS = 2


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("shared") / "store"
    publish(store, "notes", FEW)
    return store


@pytest.fixture(scope="module")
def service(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Workers that all serve the first generation."""
    service = Service(store, tmp_path_factory.mktemp("service") / "log", "--workers", str(WORKERS))
    try:
        until(lambda: service.log.count("serving generation 1") == WORKERS, "all workers")
        yield service
    finally:
        service.process.kill()


def workers(service: Service) -> list[int]:
    """The processes that answer."""
    own = service.process.pid
    return [int(pid) for pid in Path(f"/proc/{own}/task/{own}/children").read_text(encoding="utf-8").split()]


def ask(service: Service) -> httpx.Response:
    """Search over a connection of its own, which any worker may take."""
    return httpx.post(f"{service.address()}/v1/collections/notes/search", json={"text": "a loaf"}, timeout=60)


def test_every_worker_answers_the_same(service: Service) -> None:
    answers = [ask(service).raise_for_status().json() for _ in range(20)]
    assert {json.dumps({**answer, "took_ms": 0}) for answer in answers} == {json.dumps({**answers[0], "took_ms": 0})}
    assert [hit["id"] for hit in answers[0]["hits"]] == ["a", "b"]
    assert len(workers(service)) == WORKERS


def test_the_files_of_the_store_are_mapped_by_all_and_copied_by_none(service: Service, store: Path) -> None:
    for pid in workers(service):
        mapped = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8")
        for name in ("vectors.f32", "ann.faiss", "items.arrow"):
            assert re.search(rf" r--[sp] .*{re.escape(str(store))}.*/{name}$", mapped, re.MULTILINE), name


def test_one_that_is_killed_is_replaced_and_nobody_else_notices(service: Service) -> None:
    victim, *others = workers(service)
    ready = service.log.count("serving generation 1")
    os.kill(victim, signal.SIGKILL)
    until(lambda: f"worker {victim} ended with SIGKILL: starting another" in service.log, "the line in the log")
    assert ask(service).status_code == 200
    until(lambda: service.log.count("serving generation 1") == ready + 1, "another worker")
    assert set(others) < set(workers(service))
    assert len(workers(service)) == WORKERS
    assert victim not in workers(service)


def test_each_takes_up_a_new_generation(service: Service, store: Path) -> None:
    publish(store, "notes", [*FEW, {"id": "loaf", "text": "a loaf", "n": 3}])
    until(lambda: service.log.count("serving generation 2") == WORKERS, "generation 2 in all workers")
    for _ in range(20):
        answer = ask(service).json()
        assert (answer["generation"], answer["hits"][0]["id"]) == (2, "loaf")


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_all_of_them_with_0_even_before_they_are_ready(
    store: Path, tmp_path: Path, by: signal.Signals
) -> None:
    early = Service(store, tmp_path / "log", "--workers", "3")
    try:
        early.address()
        until(lambda: len(workers(early)) == 3, "three workers")
        pids = workers(early)
        early.stop(by)
        assert not any(alive(pid) for pid in pids)
    finally:
        early.process.kill()


def test_a_signal_ends_all_of_them_with_0_once_they_serve(service: Service) -> None:
    pids = workers(service)
    service.stop()
    assert not any(alive(pid) for pid in pids)


def test_they_end_when_the_one_that_started_them_is_killed(store: Path, tmp_path: Path) -> None:
    orphaned = Service(store, tmp_path / "log", "--workers", "2")
    orphaned.address()
    until(lambda: len(workers(orphaned)) == 2, "two workers")
    pids = workers(orphaned)
    orphaned.process.kill()
    orphaned.process.wait()
    until(lambda: not any(alive(pid) for pid in pids), "the end of the workers")


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody asked about yet does not."""
    try:
        return " Z" not in Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2][:3]
    except (FileNotFoundError, ProcessLookupError):
        return False
