"""What the tests of the client of OpenAI's API share: models of a server on the loopback."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from openai_server import KEY, OpenAIServer
from pydantic import SecretStr

from indexer import models
from indexer.config import CollectionSettings
from indexer.models import Embedded, Model
from indexer.providers import ModelSettings, OpenAISettings, Providers

SMALL = "openai:text-embedding-3-small"
SLOTS = 4
VOCABULARIES = Path(sys.prefix, "share", "tiktoken")


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    """A server whose models are stand-ins."""
    with OpenAIServer() as running:
        yield running


def providers(url: str, key: str | None = KEY, own: int | None = 16, **settings: Any) -> Providers:
    """That server, and how long the vectors of its small model are."""
    values: dict[str, Any] = {"in_flight": SLOTS, "timeout_seconds": 20, "give_up_seconds": 20, **settings}
    return Providers(
        openai=OpenAISettings(base_url=url, api_key=SecretStr(key) if key else None, **values),
        models={SMALL: ModelSettings(dimension=own)},
        vocabularies=VOCABULARIES,
    )


def configured(model: str = SMALL, **settings: Any) -> CollectionSettings:
    """A collection of that model."""
    return CollectionSettings(source=("-",), model=model, **settings)


def model_of(server: OpenAIServer, model: str = SMALL, dimensions: int | None = None, **settings: Any) -> Model:
    """The model behind that server."""
    known = providers(server.url, **settings)
    return models.load(models.identify(configured(model, dimensions=dimensions), known), providers=known)


def expected(server: OpenAIServer, texts: list[str]) -> Any:
    """The vectors that the server computes."""
    return server.api.models["text-embedding-3-small"].vectorise(texts)


def gathered(answers: Iterable[Embedded], texts: int, dimension: int = 16) -> tuple[Any, dict[int, str]]:
    """The vectors of all texts, NaN where there is none, and the refusals; each text is in one answer."""
    vectors, refusals = np.full((texts, dimension), np.nan), {}
    for answer in answers:
        assert np.isnan(vectors[answer.rows]).all()
        assert not refusals.keys() & set(answer.rows)
        if answer.vectors is None:
            refusals |= dict.fromkeys(answer.rows, answer.refusal)
        else:
            vectors[answer.rows] = answer.vectors
    return vectors, refusals
