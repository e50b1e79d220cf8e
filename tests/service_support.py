"""How do the tests of the service and of the command line publish, start a service, and ask it?"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2 as httpx
import pytest
from click.testing import Result

from indexer import models
from indexer.build import build
from indexer.config import collection_settings, load
from indexer.models import Fingerprint, Model
from indexer.providers import LocalSettings, Providers
from indexer.report import Report

PARECIDO = str(Path(sys.executable).with_name("parecido"))

FEW: list[dict[str, Any]] = [{"id": "a", "text": "bake bread", "n": 1}, {"id": "b", "text": "boil soup", "n": 2}]

Run = Callable[..., Result]
"""Runs a command in this process."""

LOAD = models.load

DEADLINE = 120.0
"""Seconds after which a process is taken to hang; never what is measured."""


class Quiet:
    """Progress that nobody watches."""

    def begin(self, stage: str, total: int | None, unit: str) -> None:
        """Nothing."""

    def advance(self, count: int) -> None:
        """Nothing."""

    def end(self) -> None:
        """Nothing."""


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """A JSON Lines file of those rows."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def publish(
    store: Path, name: str, rows: Sequence[Mapping[str, Any]], rebuild: bool = False, **settings: Any
) -> Report:
    """Bring a collection to those rows, whatever vanishes, as the command line does."""
    store.mkdir(parents=True, exist_ok=True)
    values = {"source": str(write_rows(store / f"{name}.jsonl", rows)), "max_shrink": 1, **settings}
    providers = load(None, os.environ).providers
    with pytest.MonkeyPatch.context() as patch:
        if models.load is LOAD:
            patch.setattr(models, "load", lambda which, device, more: _loaded(which, device, more.local))
        return build(store, name, collection_settings(values, name), Quiet(), rebuild, providers=providers)


@functools.cache
def _loaded(fingerprint: Fingerprint, device: str | None, local: LocalSettings) -> Model:
    """A model of this machine that many tests publish with, loaded once."""
    return LOAD(fingerprint, device, Providers(local=local))


def environment(**more: str) -> dict[str, str]:
    """The environment of a process that reads no other settings and fetches nothing."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PARECIDO")}
    return {**kept, "HF_HUB_OFFLINE": "1", **more}


def until(true: Callable[[], bool], what: str) -> None:
    """Wait for something that is sure to come."""
    end = time.monotonic() + DEADLINE
    while not true():
        assert time.monotonic() < end, f"waited in vain: {what}"
        time.sleep(0.05)


def as_path(id: str) -> str:
    """An id as one segment of a URL's path; dots are encoded lest a client take them for folders."""
    return quote(id, safe="").replace(".", "%2E")


def process(here: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A real run of the installed command."""
    done = subprocess.run(
        [PARECIDO, *arguments], cwd=here, env=environment(**variables), capture_output=True, text=True
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


class Service:
    """A `parecido serve` process on any free port, with more arguments and variables where they are given."""

    def __init__(self, store: Path, log: Path, *arguments: str, **variables: str) -> None:
        self._log = log
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [PARECIDO, "serve", "--port", "0", "--store", str(store), *arguments],
                stdout=out,
                stderr=out,
                env=environment(**variables),
                cwd=log.parent,
            )

    @property
    def log(self) -> str:
        """What it has written so far."""
        return self._log.read_text(encoding="utf-8")

    def address(self) -> str:
        """Where it listens, as its log says."""
        until(lambda: self._found() is not None or self.process.poll() is not None, "the address in the log")
        found = self._found()
        assert found is not None, self.log
        return found

    def _found(self) -> str | None:
        match = re.search(r" on (http://\S+), docs on", self.log)
        return match[1] if match else None

    def client(self) -> httpx.Client:
        """A client of it."""
        return httpx.Client(base_url=self.address(), timeout=DEADLINE)

    def wait_until_ready(self) -> None:
        """Return when /readyz says so."""
        with self.client() as client:
            until(functools.partial(_is_ready, client), "/readyz")

    def stop(self, by: signal.Signals = signal.SIGTERM) -> None:
        """Ask it to end, and see that it ends well."""
        self.process.send_signal(by)
        self.wait_for_end()

    def wait_for_end(self) -> None:
        """See that it ends well, once it was asked to."""
        assert self.process.wait(DEADLINE) == 0, self.log
        assert "Aborted" not in self.log
        assert "Traceback" not in self.log, self.log


@contextlib.contextmanager
def ready(service: Service) -> Iterator[Service]:
    """A service once it is ready; in the end it is stopped and must end well, or is killed where something failed."""
    try:
        service.wait_until_ready()
        yield service
    except BaseException:
        service.process.kill()
        raise
    service.stop()


def _is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.ConnectError:
        return False


def search(api: httpx.Client, collection: str = "notes", **body: Any) -> dict[str, Any]:
    """The whole answer to a search that succeeds."""
    answer = api.post(f"/v1/collections/{collection}/search", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def hits(api: httpx.Client, collection: str = "notes", **body: Any) -> list[dict[str, Any]]:
    """The hits of a search that succeeds."""
    found: list[dict[str, Any]] = search(api, collection, **body)["hits"]
    return found


def ids(api: httpx.Client, collection: str = "notes", **body: Any) -> list[str]:
    """The ids of the hits of a search that succeeds."""
    return [hit["id"] for hit in hits(api, collection, **body)]


def compare(api: httpx.Client, **body: Any) -> dict[str, Any]:
    """The whole answer to a comparison that succeeds."""
    answer = api.post("/v1/collections/notes/compare", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found
