"""Are real queries asked when an index is tuned, are they embedded once, and does a bad log never stop a run?"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest
from indexes import clustered, first_try
from support import Place, StandIn

from indexer import config, models, query_log
from indexer.ann import AnnIndex, Figure, IndexEntry, Passages, again, building
from indexer.ann.ladder import Rung
from indexer.ann.passages import Queries
from indexer.ann.tuning import measured
from indexer.config import CollectionSettings
from indexer.describe import describe
from indexer.errors import ConfigurationError, ModelUnavailable
from indexer.models.cache import EmbeddingCache
from indexer.providers import Providers
from indexer.query_log import LEAST, TAKEN, QueryLog, query_space, sample
from indexer.stages import Progress
from indexer.storage import collection_folder
from indexer.vectors import Vectors

ROWS = [{"id": f"i{n}", "text": f"This is text {n}, unlike the others.", "n": n} for n in range(700)]
TEXTS = [f"what is number {n}?" for n in range(80)]


class Prompted(StandIn):
    """A stand-in that reads queries otherwise than documents, and notes which it was asked for."""

    fingerprint = replace(StandIn.fingerprint, query_prompt="query: ", document_prompt="passage: ")

    def __init__(self) -> None:
        super().__init__()
        self.queries: list[str] = []

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        return super().embed_query([f"passage: {text}" for text in texts])

    def embed_query(self, texts: Sequence[str]) -> Vectors:
        self.queries += texts
        return super().embed_query([f"query: {text}" for text in texts])


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Prompted:
    instance = Prompted()
    monkeypatch.setattr(models, "identify", lambda *_: instance.fingerprint)
    monkeypatch.setattr(models, "load", lambda *_: instance)
    first_try("pq", monkeypatch)
    return instance


@pytest.fixture
def place(tmp_path: Path, model: Prompted) -> Place:
    return Place(tmp_path)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Queries]:
    """What indexes are asked for, to measure them."""
    every: list[Queries] = []

    def noted(
        index: AnnIndex, passages: Passages, queries: Queries, progress: Progress | None = None
    ) -> tuple[Rung, ...]:
        every.append(queries)
        return measured(index, passages, queries, progress)

    monkeypatch.setattr(building, "measured", noted)
    monkeypatch.setattr(again, "measured", noted)
    return every


def written(folder: Path, lines: Sequence[str], name: str = "queries.txt") -> Path:
    path = folder / name
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def entry_of(place: Place) -> IndexEntry:
    (segment,) = place.snapshot.generation.segments
    assert segment.index is not None
    return segment.index


def test_logged_queries_are_asked_beside_items_and_counted(
    tmp_path: Path, place: Place, model: Prompted, asked: list[Queries]
) -> None:
    place.run(ROWS, query_log=written(tmp_path, TEXTS))
    assert sorted(model.queries) == sorted(TEXTS)
    (queries,) = asked
    assert (queries.items, queries.logged, (queries.own == -1).all()) == (120, 80, True)
    as_queries = {row.tobytes() for row in Prompted().embed_query(TEXTS)}
    assert {row.tobytes() for row in queries.vectors[120:]} == as_queries
    assert (entry_of(place).queries, entry_of(place).logged) == (120, 80)
    (told,) = orjson.loads(orjson.dumps(describe(place.snapshot.generation)["recall"]))["indexes"]
    assert (told["queries"], told["logged"]) == (120, 80)


def test_they_are_embedded_once_and_never_mixed_with_documents(
    tmp_path: Path, place: Place, model: Prompted, asked: list[Queries]
) -> None:
    rows = [*ROWS, *({"id": text, "text": text, "n": 0} for text in TEXTS)]
    log = written(tmp_path, TEXTS)
    place.run(rows, query_log=log)
    assert len(model.queries) == len(TEXTS)
    place.run(rebuild=True, query_log=log)
    place.run(rows[60:], query_log=log)
    assert (len(model.queries), len(asked)) == (len(TEXTS), 3)
    for queries in asked:
        np.testing.assert_array_equal(queries.vectors[-80:], asked[0].vectors[-80:])
    document = place.snapshot.find(TEXTS[0])
    assert document is not None
    stored = document.segment.vectors[document.segment.passages_of(document.row).start]
    np.testing.assert_array_equal(stored, model.embed_documents(TEXTS[:1])[0])
    with sqlite3.connect(place.store / "embeddings.sqlite") as connection:
        spaces = [json.loads(one) for (one,) in connection.execute("SELECT fingerprint FROM spaces")]
    assert {(one["document_prompt"], one.get("space", "")) for one in spaces} == {
        ("passage: ", ""), ("query: ", "queries"),
    }  # fmt: skip
    assert query_space(StandIn.fingerprint) != StandIn.fingerprint


def test_an_index_that_is_measured_again_is_asked_with_them_too(
    tmp_path: Path, place: Place, asked: list[Queries]
) -> None:
    log = written(tmp_path, TEXTS)
    place.run(ROWS, query_log=log)
    assert len(place.run(ROWS[42:], query_log=log).segments.measured_again) == 1
    assert [(queries.items, queries.logged) for queries in asked] == [(120, 80)] * 2
    assert (entry_of(place).logged, entry_of(place).measured_in) == (80, 2)


def test_nothing_is_read_or_embedded_where_no_index_is_tuned(
    tmp_path: Path, place: Place, model: Prompted, caplog: pytest.LogCaptureFixture
) -> None:
    place.run(ROWS[:150], query_log=tmp_path / "nowhere")
    assert (entry_of(place).kind, model.queries, caplog.records) == ("exact", [], [])


def test_the_figure_is_that_of_whichever_finds_less() -> None:
    rng = np.random.default_rng(1)
    vectors = clustered(rng, 2000)
    passages = Passages(vectors[:1600])
    index = building.kinds.empty("hnsw", vectors.shape[1])
    index.add(passages.vectors)
    items = Queries(vectors[1600:], np.full(400, -1))
    strange = clustered(np.random.default_rng(2), 100)
    opened = AnnIndex(index, "hnsw")

    def figures(queries: Queries) -> dict[tuple[int, int], tuple[Figure, Figure]]:
        return {(rung.limit, rung.effort): (rung.figure, rung.filtered) for rung in measured(opened, passages, queries)}

    alone, logged, both = (
        figures(items),
        figures(Queries(strange, np.full(100, -1))),
        figures(items.and_logged(strange)),
    )
    assert logged[10, 16][0].low < alone[10, 16][0].low
    shared = alone.keys() & logged.keys() & both.keys()
    assert {(10, 16), (100, 128)} <= shared
    for rung in shared:
        for at in (0, 1):
            less = min(alone[rung][at], logged[rung][at], key=lambda figure: figure.low)
            assert both[rung][at] == less


BAD = {
    "missing": lambda folder: folder / "nowhere.txt",
    "a folder": lambda folder: folder,
    "empty": lambda folder: written(folder, []),
    "too few": lambda folder: written(folder, TEXTS[: LEAST - 1]),
    "all the same": lambda folder: written(folder, ["again"] * 500),
    "no JSON": lambda folder: written(folder, TEXTS, "queries.jsonl"),
    "no text": lambda folder: written(folder, ['{"query": "x"}'] * 100, "queries.jsonl"),
}


@pytest.mark.parametrize("bad", BAD)
def test_a_log_that_cannot_be_used_is_a_warning_and_items_are_asked_alone(
    tmp_path: Path, place: Place, model: Prompted, caplog: pytest.LogCaptureFixture, bad: str
) -> None:
    path = BAD[bad](tmp_path)
    assert place.run(ROWS, query_log=path).published
    (record,) = [one for one in caplog.records if one.levelno == logging.WARNING]
    assert str(path) in record.getMessage()
    assert "its indexes are tuned with items alone" in record.getMessage()
    assert (entry_of(place).queries, entry_of(place).logged, model.queries) == (120, 0, [])


def test_a_model_that_fails_over_them_stops_nothing_either(
    tmp_path: Path, place: Place, model: Prompted, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(texts: Sequence[str]) -> Vectors:
        raise ModelUnavailable("Out of memory.")

    monkeypatch.setattr(model, "embed_query", fails)
    assert place.run(ROWS, query_log=written(tmp_path, TEXTS)).published
    assert entry_of(place).logged == 0
    assert "Out of memory." in caplog.text


def test_a_model_that_costs_money_is_never_asked_for_them(
    tmp_path: Path, place: Place, model: Prompted, caplog: pytest.LogCaptureFixture
) -> None:
    log = QueryLog(
        CollectionSettings(source=("x",), query_log=written(tmp_path, TEXTS)),
        replace(model.fingerprint, provider="openai", name="openai:small"),
        Providers(),
        EmbeddingCache(tmp_path / "embeddings.sqlite"),
        collection_folder(place.store, place.name),
    )
    assert [log.vectors().shape, log.vectors().shape, model.queries] == [(0, 16), (0, 16), []]
    (record,) = caplog.records
    assert "'openai:small' would have to be paid for each query" in record.getMessage()


def test_the_sample_is_of_the_newest_lines_and_always_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query_log, "NEWEST_LINES", 1000)
    lines = [f"query {n}" for n in range(5000)]
    path = written(tmp_path, lines)
    first = sample(path)
    assert (len(first), len(set(first)), sample(path)) == (TAKEN, TAKEN, first)
    assert set(first) <= set(lines[-1000:])
    later = sample(written(tmp_path, [*lines, *(f"later {n}" for n in range(50))]))
    assert len(set(first) & set(later)) > 0.9 * TAKEN
    assert first != later


def test_a_log_of_any_size_is_read_from_its_end_and_lines_stay_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query_log, "NEWEST_BYTES", 2000)
    lines = [f"a whole line with number {n:05d}" for n in range(5000)]
    found = sample(written(tmp_path, lines))
    assert LEAST <= len(found) <= 2000 // 31
    assert set(found) <= set(lines[-70:])


def test_blank_long_and_unreadable_lines_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "queries.txt"
    good = [f"grüße {n} 🚀" for n in range(60)]
    bad = [b"\xff\xfe\x00", b"   ", b"", b"x" * 10_001]
    path.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join([*(text.encode() for text in good), *bad]))
    assert set(sample(path)) == set(good)
    rows = [json.dumps({"text": f" {text} ", "at": 7}) for text in good]
    odd = ["[]", "7", '{"text": 7}', '{"text": null}', "{", '{"text": "\\ud800"}', "[" * 5000]
    assert set(sample(written(tmp_path, [*odd, *rows], "queries.ndjson"))) == set(good)


def test_a_relative_log_lies_beside_the_configuration_file(tmp_path: Path) -> None:
    path = tmp_path / "parecido.toml"
    path.write_text('[collections.things]\nsource = "x"\nquery_log = "logs/queries.txt"\n', encoding="utf-8")
    assert config.load(path, {}).collections["things"].query_log == tmp_path / "logs" / "queries.txt"
    with pytest.raises(ConfigurationError, match="query_log"):
        config.collection_settings({"source": "x", "query_log": 7}, "here")
