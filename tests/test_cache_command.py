"""Can a person see what the embedding cache holds, and empty it?"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from service_support import FEW, Run, publish

from indexer.config import CollectionSettings
from indexer.models import Model, identify
from indexer.models.cache import EmbeddingCache, text_key
from indexer.query_log import query_space

pytest_plugins = ["service_fixtures"]

MODEL = "all-MiniLM-L6-v2"


def test_the_cache_is_shown_and_emptied(run: Run, here: Path, started_model: Model) -> None:
    store = ("--store", "store")
    assert run("cache", *store).stdout == "There is nothing in the embedding cache store/embeddings.sqlite.\n"
    assert not (here / "store").exists()
    publish(here / "store", "few", FEW)
    shown = json.loads(run("cache", "--json", *store).stdout)
    today = datetime.now(UTC).date().isoformat()
    assert (shown["path"], shown["vectors"], shown["pinned"]) == ("store/embeddings.sqlite", 2, 0)
    assert (shown["max_bytes"], shown["oldest_use"], shown["unfinished"]) == (10 << 30, today, [])
    assert shown["bytes"] == (here / "store" / "embeddings.sqlite").stat().st_size
    (model,) = shown["models"]
    assert (model["name"], model["dimension"], model["vectors"], model["bytes"]) == (MODEL, 384, 2, 2 * 384 * 4)
    path = started_model.numeric_path
    assert model["numeric_path"] == path
    said = run("cache", *store).stdout
    assert "store/embeddings.sqlite: 2 vectors" in said
    assert f"{MODEL} ({model['revision'][:12]}): 2 vectors of 384 dimensions, 0.0 MB, made by {path}" in said
    assert "no vectors of model 'other'" in run("cache", "--empty", "--model", "other", *store, code=2).stderr
    assert "give it too" in run("cache", "--model", MODEL, *store, code=2).stderr
    assert run("cache", "--empty", "--model", MODEL, *store).stdout == "2 vectors removed\n"
    assert json.loads(run("cache", "--empty", "--json", *store).stdout) == {
        "path": "store/embeddings.sqlite",
        "removed": 0,
        "kept": 0,
    }
    assert publish(here / "store", "few", FEW, rebuild=True).passages.embedded == 2


def test_spaces_of_one_model_are_told_from_each_other(run: Run, here: Path) -> None:
    documents = identify(CollectionSettings(source=("-",)))
    prompted = replace(documents, document_prompt="passage: ", query_prompt="query: ")
    api = replace(documents, provider="openai", name="openai:own", revision="", space="queries")
    spaces = [documents, replace(documents, query_prompt="ask: "), prompted, query_space(documents)]
    folder = here / "parecido-data" / "collections" / "few"
    folder.mkdir(parents=True)
    with EmbeddingCache(here / "parecido-data" / "embeddings.sqlite") as cache:
        for space in (*spaces, query_space(prompted), api):
            vectors = np.array([[1.0] + [0.0] * 383], dtype=np.float32)
            cache.for_run(space, folder).put([text_key("a")], vectors, "by hand")
    revision, each = documents.revision[:12], "1 vectors of 384 dimensions, 0.0 MB, made by by hand"
    assert [line.strip() for line in run("cache").stdout.splitlines()[1:-1]] == [
        f"{MODEL} ({revision}): {each}",
        f"{MODEL} ({revision}, query prompt 'ask: '): {each}",
        f"{MODEL} ({revision}, prompt 'passage: ', query prompt 'query: '): {each}",
        f"{MODEL} ({revision}, queries of a query_log): {each}",
        f"{MODEL} ({revision}, queries of a query_log, prompt 'query: '): {each}",
        f"openai:own (queries): {each}",
    ]
    told = json.loads(run("cache", "--json").stdout)["models"]
    assert [(one["of_queries"], one["space"]) for one in told[2:]] == [
        (False, ""),
        (True, ""),
        (True, ""),
        (False, "queries"),
    ]
    assert {one["query_prompt"] for one in told} == {"", "ask: ", "query: "}


def test_what_an_unfinished_run_has_made_is_shown_and_stays_unless_all_is_to_go(run: Run, here: Path) -> None:
    (here / "parecido.toml").write_text('[cache]\npath = "fast/cache.sqlite"\n', encoding="utf-8")
    folder = here / "parecido-data" / "collections" / "few"
    folder.mkdir(parents=True)
    fingerprint = identify(CollectionSettings(source=("-",)))
    with EmbeddingCache(here / "fast" / "cache.sqlite") as cache:
        vectors = [[1.0] + [0.0] * 383]
        cache.for_run(fingerprint, folder).put([text_key("a")], np.array(vectors, dtype=np.float32), "by hand")
    assert "1 are kept for a run of few that has not published" in run("cache").stdout
    assert run("cache", "--empty").stdout == (
        "0 vectors removed; 1 stay for a run that has not published (--all removes them too)\n"
    )
    assert run("cache", "--empty", "--all").stdout == "1 vectors removed\n"
    (here / "fast" / "cache.sqlite").write_text("mine " * 1000)
    assert "it is damaged (file is not a database): move it away" in run("cache", code=1).stderr
