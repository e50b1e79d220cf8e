"""What do the tests of the service and of the command line share?

A store that is indexed once with the packaged model, and a service process over it on a port of its own. A test module
takes them with `pytest_plugins = ["service_fixtures"]`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import pytest
from click.testing import CliRunner, Result
from service_items import ITEMS, LONG_ID, TYPES
from service_support import FEW, Run, Service, publish, ready, write_rows

from indexer import models
from indexer.config import CollectionSettings
from indexer.models import Model
from indexer.providers import LocalSettings, Providers
from service.cli import main


@pytest.fixture(scope="session")
def served_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Collections `notes`, with all items, and `bare`, the same with no texts stored."""
    store = tmp_path_factory.mktemp("served") / "store"
    publish(store, "notes", ITEMS, types=TYPES)
    publish(store, "bare", [row for row in ITEMS if row["id"] in ("bread", "soup", LONG_ID)], store_text=False)
    return store


@pytest.fixture(scope="session")
def started_model(caches: Path) -> Model:
    """The packaged model as a process that is started here has it: similarities are the same to a digit."""
    fingerprint = models.identify(CollectionSettings(source=("-",)))
    return models.load(fingerprint, "cpu", Providers(local=LocalSettings(models_cache=caches)))


@pytest.fixture(scope="session")
def service(served_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A ready service over `served_store`."""
    with ready(Service(served_store, tmp_path_factory.mktemp("service") / "log")) as service:
        yield service


@pytest.fixture(scope="session")
def api(service: Service) -> Iterator[httpx.Client]:
    """A client of the service."""
    with service.client() as client:
        yield client


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder with few.jsonl in it, and no settings from outside."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PARECIDO_STORE", raising=False)
    write_rows(tmp_path / "few.jsonl", FEW)
    return tmp_path


@pytest.fixture
def run(here: Path, started_model: Model, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in this process, on the model that is loaded already; only an exit may end it."""

    def loaded(fingerprint: models.Fingerprint, *_: object) -> Model:
        assert fingerprint == started_model.fingerprint
        return started_model

    def run(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(main, arguments)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return result

    monkeypatch.setattr(models, "load", loaded)
    return run
