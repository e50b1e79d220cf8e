"""Is any text embedded twice, whatever happens to a run, an id, a collection or the model?

What the model is asked is written down by its stand-in; runs are killed with SIGKILL in real processes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support import NAME, Place, Runs, StandIn, contents, write_rows

from indexer.config import CacheSettings
from indexer.errors import CorruptGeneration, StorageError
from indexer.models.cache_contents import statistics
from indexer.models.slices import SLICE
from indexer.report import PassageCounts
from indexer.snapshot import verify
from indexer.storage import collection_folder

ROWS = [{"id": f"{i}", "text": f"This is text number {i}.", "n": i} for i in range(10)]
MANY = [{"id": f"{i}", "text": f"This is text number {i}."} for i in range(4 * SLICE)]


@pytest.fixture
def place(tmp_path: Path, stand_in: StandIn) -> Place:
    return Place(tmp_path)


def texts(rows: list[dict[str, Any]]) -> list[str]:
    return [row["text"] for row in rows]


def lines(file: Path) -> list[str]:
    """The texts that were put down whole: who is killed meanwhile has not embedded the one that is cut."""
    found = []
    for line in file.read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            found.append(json.loads(line))
    return found


def assert_exact(place: Place, stand_in: StandIn) -> None:
    """The current generation is whole, and every vector in it is that of its passage."""
    snapshot = place.snapshot
    verify(snapshot)
    for part in snapshot.segments:
        segment = part.segment
        passages = [
            (segment.text(int(item)) or "")[start:end]
            for item, start, end in zip(segment.item_rows, segment.starts, segment.ends, strict=True)
        ]
        assert segment.vectors.tobytes() == stand_in.embed_query(passages).tobytes()


def test_a_run_killed_while_it_embeds_continues_with_what_had_not_reached_the_cache(
    place: Place, stand_in: StandIn, runs: Runs, tmp_path: Path
) -> None:
    write_rows(place.source, MANY)
    asked = tmp_path / "asked"
    assert not runs.run_asking(place, asked, die_in_call=3)
    assert len(lines(asked)) == 3 * SLICE
    lost = lines(asked)[2 * SLICE :]
    assert not runs.run_asking(place, asked, die_in_call=1)
    assert lines(asked)[3 * SLICE :] == lost
    assert statistics(place.store / "embeddings.sqlite").pinned == 2 * SLICE
    report = place.run()
    assert report.passages == PassageCounts(
        total=4 * SLICE,
        embedded=2 * SLICE,
        cached=2 * SLICE,
        tokens=sum(stand_in.tokenizer.count(text) for text in stand_in.asked),
        characters=sum(map(len, stand_in.asked)),
    )
    assert Counter([*lines(asked)[: 2 * SLICE], *stand_in.asked]) == Counter(texts(MANY))
    assert contents(place.store) == {row["id"]: (row["text"], {}) for row in MANY}
    assert_exact(place, stand_in)
    assert statistics(place.store / "embeddings.sqlite").pinned == 0


def test_a_killed_change_of_the_model_continues_with_what_had_not_reached_the_cache(
    place: Place, stand_in: StandIn, runs: Runs, tmp_path: Path
) -> None:
    old, new = stand_in.fingerprint, replace(stand_in.fingerprint, revision="older")
    stand_in.fingerprint = new
    place.run(MANY)
    stand_in.fingerprint = old
    asked = tmp_path / "asked"
    assert not runs.run_asking(place, asked, die_in_call=4)
    assert place.numbers == [1]
    assert runs.run_asking(place, asked)
    assert place.snapshot.generation.fingerprint == old
    assert len(lines(asked)) == 5 * SLICE
    assert set(lines(asked)[4 * SLICE :]) == set(lines(asked)[3 * SLICE : 4 * SLICE])
    assert_exact(place, stand_in)


LIVE = """
import json, sys
sys.path.insert(0, sys.argv[1])
from killed_child import run
from support import StandIn
from indexer import models
stand_in = StandIn()
models.identify = lambda *_: stand_in.fingerprint
models.load = lambda *_: stand_in
assert run(json.loads(sys.argv[2]), stand_in)["error"] is None
"""


def test_runs_killed_at_any_moment_embed_no_text_again_that_was_followed_by_another(
    place: Place, stand_in: StandIn, tmp_path: Path
) -> None:
    write_rows(place.source, MANY)
    asked = tmp_path / "asked"
    asked.touch()
    order = {"store": str(place.store), "source": str(place.source), "name": NAME, "asked": str(asked)}
    command = [sys.executable, "-c", LIVE, str(Path(__file__).parent), json.dumps({**order, "die_in_call": 0})]
    kills = 0
    for enough in (1, SLICE + 1, 2 * SLICE + 1):  # the moment is where this process happens to see so many lines
        with subprocess.Popen(command) as process:
            while process.poll() is None and len(lines(asked)) < enough:
                time.sleep(0.001)
            process.kill()
            kills += process.wait() != 0
    place.run()
    times = Counter([*lines(asked), *stand_in.asked])
    assert set(times) == set(texts(MANY))
    assert sum(times.values()) - len(times) <= kills * SLICE
    assert_exact(place, stand_in)


def test_another_id_another_collection_and_a_rebuild_embed_nothing(
    place: Place, stand_in: StandIn, tmp_path: Path
) -> None:
    place.run(ROWS)
    assert sorted(stand_in.asked) == sorted(texts(ROWS))
    renamed = place.run([{**row, "id": f"new {row['id']}"} for row in ROWS])
    assert (renamed.items.added, renamed.items.deleted, renamed.passages.cached) == (10, 10, 10)
    other = Place(tmp_path, "other")
    assert other.run([*ROWS, {"id": "more", "text": "A text of its own."}]).passages.embedded == 1
    assert place.run(rebuild=True).passages.embedded == 0
    assert stand_in.asked[10:] == ["A text of its own."]
    for each in (place, other):
        assert_exact(each, stand_in)


def test_a_model_that_is_changed_and_changed_back_embeds_nothing_the_second_time(
    place: Place, stand_in: StandIn
) -> None:
    first = stand_in.fingerprint
    place.run(ROWS)
    stand_in.fingerprint = replace(first, name="another")
    assert place.run().passages.embedded == 10
    stand_in.fingerprint = first
    report = place.run()
    assert (report.published, report.passages.embedded, report.passages.cached) == (True, 0, 10)
    assert_exact(place, stand_in)


def test_the_prompt_is_part_of_what_is_looked_up(place: Place, stand_in: StandIn) -> None:
    stand_in.fingerprint = replace(stand_in.fingerprint, document_prompt="About: ")
    place.run(ROWS)
    with sqlite3.connect(place.store / "embeddings.sqlite") as connection:
        found = {row[0] for row in connection.execute("SELECT sha256 FROM entries")}
    connection.close()
    assert found == {hashlib.sha256(f"About: {text}".encode()).digest() for text in texts(ROWS)}


def test_a_run_with_nothing_to_embed_makes_no_cache(place: Place, stand_in: StandIn) -> None:
    place.run(ROWS)
    (place.store / "embeddings.sqlite").unlink()
    assert not place.run().published
    assert place.run([{**row, "n": 0} for row in ROWS[1:]]).passages.cached == 9
    assert len(stand_in.asked) == 10
    assert not (place.store / "embeddings.sqlite").exists()


def test_tokens_and_characters_of_what_was_embedded_are_counted_once_a_text(place: Place, stand_in: StandIn) -> None:
    rows = [{"id": "a", "text": "two words"}, {"id": "b", "text": "two words"}, {"id": "é", "text": "é 𝒜 e"}]
    passages = place.run(rows).passages
    assert (passages.tokens, passages.characters) == (2 + stand_in.tokenizer.count("é 𝒜 e"), 9 + 5)
    short = {"tokens": 20, "overlap": 10}
    long = place.run([*rows, {"id": "long", "text": "word " * 100}], passages=short).passages
    assert stand_in.asked[2:]
    assert (long.tokens, long.characters) == (20 * len(stand_in.asked[2:]), sum(map(len, stand_in.asked[2:])))
    again = place.run([*rows, {"id": "long", "text": "word " * 100, "n": 1}], passages=short).passages
    assert (again.cached, again.tokens, again.characters) == (long.total - 3, 0, 0)


def test_the_bound_is_kept_after_each_publication_and_not_at_the_cost_of_a_run_that_failed(
    place: Place, stand_in: StandIn, runs: Runs, tmp_path: Path
) -> None:
    place.cache = CacheSettings(path=tmp_path / "elsewhere" / "cache.sqlite", max_bytes=0)
    assert place.run(ROWS).passages.embedded == 10
    assert statistics(place.cache.path).vectors == 0  # type: ignore[arg-type]
    other = Place(tmp_path, "other")
    write_rows(other.source, MANY)
    assert not runs.run_asking(other, tmp_path / "asked", die_in_call=2)
    place.cache = CacheSettings(max_bytes=0)
    place.run([{**row, "text": f"{row['text']} Again."} for row in ROWS])
    assert statistics(place.store / "embeddings.sqlite").unfinished == ("other",)
    other.cache = place.cache
    report = other.run()
    assert (report.passages.cached, report.passages.embedded) == (SLICE, 3 * SLICE)
    assert statistics(place.store / "embeddings.sqlite").vectors == 0


def test_a_run_with_nothing_left_to_do_keeps_nothing_for_one_that_was_killed(
    place: Place, runs: Runs, tmp_path: Path
) -> None:
    place.run(ROWS)
    write_rows(place.source, MANY)
    assert not runs.run_asking(place, tmp_path / "asked", die_in_call=2)
    assert statistics(place.store / "embeddings.sqlite").pinned == SLICE
    assert not place.run(ROWS).published
    assert statistics(place.store / "embeddings.sqlite").pinned == 0


def test_a_run_that_needs_a_damaged_cache_changes_nothing_and_names_it(place: Place, stand_in: StandIn) -> None:
    place.run(ROWS)
    file = place.store / "embeddings.sqlite"
    file.write_bytes(b"something else " * 1000)
    with pytest.raises(StorageError, match="move it away and run it again") as caught:
        place.run([*ROWS, {"id": "new", "text": "A new text."}])
    assert repr(str(file)) in caught.value.message
    assert place.numbers == [1]
    file.rename(file.with_suffix(".bad"))
    assert place.run().published


@pytest.mark.parametrize("name", ["vectors.f32", "passages.arrow"])
def test_damage_of_a_published_segment_is_not_copied_into_a_new_one(place: Place, name: str) -> None:
    place.run(ROWS)
    (entry,) = place.snapshot.generation.segments
    file = collection_folder(place.store, NAME).segments / entry.id / name
    whole = file.read_bytes()
    at = whole.index(place.snapshot.segments[0].segment.passage_hashes[9].as_py()) if name != "vectors.f32" else 600
    file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    changed = [{**row, "n": 0} for row in ROWS]
    with pytest.raises(CorruptGeneration, match="is damaged: its checksum is") as caught:
        place.run(changed)
    assert repr(str(file)) in caught.value.message
    assert place.numbers == [1]
    report = place.run(changed, rebuild=True)
    assert (report.generation, report.passages.cached) == (2, 10)
    verify(place.snapshot)
