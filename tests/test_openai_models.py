"""Which space do the vectors of a model behind an API live in, and what is asked to find out?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from openai_fixtures import SMALL, configured, expected, model_of, providers, server
from openai_server import OpenAIServer

from indexer import models
from indexer.errors import ConfigurationError, ModelUnavailable
from indexer.models import Fingerprint
from indexer.models.openai_known import WINDOW_UNKNOWN
from indexer.providers import ModelSettings, Providers

__all__ = ["server"]

NOWHERE = "http://127.0.0.1:9/v1"
FINGERPRINT = Fingerprint("openai", SMALL, "", 16, "", "", "api", True, NOWHERE)


@pytest.mark.parametrize(
    ("name", "wanted", "dimension"),
    [
        ("openai:text-embedding-3-small", None, 1536),
        ("openai:text-embedding-3-small", 512, 512),
        ("openai:text-embedding-3-small", 1536, 1536),
        ("openai:text-embedding-3-large", None, 3072),
        ("openai:text-embedding-3-large", 256, 256),
        ("openai:text-embedding-ada-002", None, 1536),
        ("openai:text-embedding-ada-002", 1536, 1536),
    ],
)
def test_a_known_model_is_identified_without_a_request(name: str, wanted: int | None, dimension: int) -> None:
    known = Providers()
    found = models.identify(configured(name, dimensions=wanted), known)
    assert found == Fingerprint("openai", name, "", dimension, "", "", "api", True, "https://api.openai.com/v1")
    assert models.load(found, providers=known).window == 8191


@pytest.mark.parametrize(
    ("name", "wanted", "part"),
    [
        ("openai:text-embedding-3-small", 1537, "have 1536"),
        ("openai:text-embedding-ada-002", 512, "no others"),
        ("openai:mine", 512, '[models."openai:mine"]'),
        ("openai:", None, "name the model"),
    ],
)
def test_dimensions_that_cannot_be_had_are_refused(name: str, wanted: int | None, part: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        models.identify(configured(name, dimensions=wanted), Providers())
    assert part in caught.value.message


@pytest.mark.parametrize("setting", [{"dimensions": 8}, {"space": "ours"}])
def test_settings_of_an_api_are_refused_for_a_model_of_this_machine(setting: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="behind an API"):
        models.identify(configured("all-MiniLM-L6-v2", **setting), Providers())


def test_prompts_and_a_named_space_are_part_of_the_fingerprint() -> None:
    found = models.identify(configured(space="ours", query_prompt="q: ", document_prompt="d: "), providers(NOWHERE))
    assert found == replace(FINGERPRINT, space="ours", query_prompt="q: ", document_prompt="d: ")


def test_an_unknown_model_is_asked_how_long_its_vectors_are(server: OpenAIServer) -> None:
    known = providers(server.url)
    name = "openai:text-embedding-3-large"
    server.api.models["mine"] = server.api.models["text-embedding-3-large"]
    found = models.identify(configured("openai:mine"), known)
    assert found.dimension == 32
    assert len(server.ledger.requests) == 1
    assert models.load(found, providers=known).window == WINDOW_UNKNOWN
    assert models.identify(configured("openai:mine"), known, found) == found
    assert len(server.ledger.requests) == 1
    assert models.identify(configured("openai:mine"), known, replace(found, name=name)) == found
    assert models.identify(configured("openai:mine"), known, replace(found, space="ours")) == found
    assert len(server.ledger.requests) == 3


def test_an_unknown_model_that_cannot_be_asked_is_unavailable() -> None:
    with pytest.raises(ModelUnavailable, match="OPENAI_API_KEY"):
        models.identify(configured("openai:mine"), providers(NOWHERE, key=None))


def test_the_configuration_says_what_is_not_known() -> None:
    known = Providers(models={"openai:mine": ModelSettings(dimension=64, window=2048)})
    found = models.identify(configured("openai:mine"), known)
    assert found.dimension == 64
    assert models.load(found, providers=known).window == 2048


def test_dimensions_are_asked_for_only_where_they_are_others(server: OpenAIServer) -> None:
    assert np.allclose(model_of(server).embed_query(["a"]), expected(server, ["a"]))
    shorter = expected(server, ["a"])[:, :8]
    found = model_of(server, dimensions=8).embed_query(["a"])
    assert np.allclose(found, shorter / np.linalg.norm(shorter), atol=1e-6)
    server.api.models["text-embedding-3-small"] = replace(server.api.models["text-embedding-3-small"], shortens=False)
    assert model_of(server).embed_query(["a"]).shape == (1, 16)
    with pytest.raises(ModelUnavailable, match="does not support specifying dimensions"):
        model_of(server, dimensions=8).embed_query(["a"])


def test_vectors_of_two_servers_never_meet() -> None:
    with pytest.raises(ModelUnavailable, match=r"set OPENAI_BASE_URL to http://elsewhere/v1"):
        models.load(replace(FINGERPRINT, space="http://elsewhere/v1"), providers=providers(NOWHERE))
    models.load(replace(FINGERPRINT, space="ours"), providers=providers(NOWHERE))
    models.load(FINGERPRINT, providers=providers("http://user:secret@127.0.0.1:9/v1/"))


def test_a_model_is_loaded_without_a_key_and_says_so_when_it_is_asked() -> None:
    model = models.load(FINGERPRINT, providers=providers(NOWHERE, key=None))
    assert (model.device, model.numeric_path) == ("api", "api")
    model.warm()
    assert model.embed_query([]).shape == (0, 16)
    assert list(model.embed_stream([])) == []
    for ask in (model.embed_query, model.embed_documents, lambda texts: list(model.embed_stream(texts))):
        with pytest.raises(ModelUnavailable, match="OPENAI_API_KEY is not set"):
            ask(["a"])


def test_prompts_are_put_before_the_texts(server: OpenAIServer) -> None:
    fingerprint = replace(FINGERPRINT, space=server.url, query_prompt="q: ", document_prompt="d: ")
    model = models.load(fingerprint, providers=providers(server.url))
    assert np.allclose(model.embed_query(["a"]), expected(server, ["q: a"]))
    assert np.allclose(model.embed_documents(["a"]), expected(server, ["d: a"]))
    (answer,) = model.embed_stream(["a"])
    assert answer.vectors is not None
    assert np.allclose(answer.vectors, expected(server, ["d: a"]))
