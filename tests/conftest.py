"""What the tests share: the packaged model, loaded once, and its stand-in."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from postgres import Postgres, running
from support import Runs, StandIn

from indexer import models
from indexer.config import DEFAULT_MODEL, CollectionSettings
from indexer.models import Model

# A shell that starts this in the background has it ignore SIGINT, and so would all that it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long a draw or a test takes is no promise of the project, and depends on what else the machine does.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture(scope="session", autouse=True)
def caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The user's caches, which are those of this session alone, for its processes too; returns that of models."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("caches")
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder / "parecido"


@pytest.fixture(scope="session")
def model() -> Model:
    """The packaged model, on the CPU, by torch."""
    fingerprint = models.identify(CollectionSettings(source=("-",), model=DEFAULT_MODEL))
    return models.load(fingerprint, "cpu")


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """Runs in this process use the stand-in for a model."""
    instance = StandIn()
    monkeypatch.setattr(models, "identify", lambda *_: instance.fingerprint)
    monkeypatch.setattr(models, "load", lambda *_: instance)
    return instance


@pytest.fixture(scope="session")
def runs() -> Iterator[Runs]:
    """Runs of the indexer, in other processes, that do not live to their end."""
    started = Runs()
    with started.process:
        yield started
        assert started.process.stdin is not None
        started.process.stdin.close()


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Takes the rules of a place for the local ones."""

    def set_zone(rules: str) -> None:
        monkeypatch.setenv("TZ", rules)
        time.tzset()

    yield set_zone
    monkeypatch.undo()
    time.tzset()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server."""
    with running() as server:
        yield server
