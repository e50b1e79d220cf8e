"""Can a person see what the embedding cache holds, and empty it?"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from service_support import FEW, Run, publish

from indexer.config import CollectionSettings
from indexer.models import Model, identify
from indexer.models.cache import EmbeddingCache, text_key

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
