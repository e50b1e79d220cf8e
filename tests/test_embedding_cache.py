"""Does the embedding cache give back exactly what was put, keep within its bound, and never serve damage?

Real SQLite files, looked into with SQL alone where the format is asked for.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import random
import shutil
import sqlite3
import subprocess
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from indexer.errors import ConfigurationError, StorageError
from indexer.models import Fingerprint, cache
from indexer.models.cache import EmbeddingCache, RunCache, text_key
from indexer.models.cache_contents import Emptied, empty, statistics
from indexer.storage import database
from indexer.vectors import Vectors

DIMENSION = 16
PRINT = Fingerprint("test", "one", "abc", DIMENSION, "query: ", "text: ", "mean", normalised=True)
PATH = "numpy float64 cpu"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "embeddings.sqlite"


@pytest.fixture
def vectors(path: Path) -> Iterator[EmbeddingCache]:
    with EmbeddingCache(path) as opened:
        yield opened


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    folder = tmp_path / "collections" / "things"
    folder.mkdir(parents=True)
    return folder


def keys(*names: object) -> list[bytes]:
    return [text_key(f"text: {name}") for name in names]


def rows(names: Sequence[object], dimension: int = DIMENSION) -> Vectors:
    """For each name a vector of any bits at all."""
    seeds = [int.from_bytes(hashlib.sha256(str(name).encode()).digest()[:8], "big") for name in names]
    return (
        np.array([np.random.default_rng(seed).bytes(dimension * 4) for seed in seeds])
        .view("<f4")
        .reshape(-1, dimension)
    )


def got(run: RunCache, *names: object) -> dict[object, bytes]:
    """The names whose vectors are known, with these."""
    out = np.zeros((len(names), DIMENSION), dtype=np.float32)
    known = run.fill(keys(*names), range(len(names)), out)
    assert not out[[row for row in range(len(names)) if row not in known]].any()
    return {names[row]: out[row].tobytes() for row in known}


def expected(*names: object) -> dict[object, bytes]:
    return {name: row.tobytes() for name, row in zip(names, rows(names), strict=True)}


def put(run: RunCache, *names: object) -> None:
    run.put(keys(*names), rows(names), PATH)


def sql(path: Path, statement: str, *values: object) -> list[tuple[object, ...]]:
    """What another program does to the file."""
    with sqlite3.connect(path) as connection:
        found = connection.execute(statement, values).fetchall()
    connection.close()
    return found


def test_vectors_come_back_bit_for_bit_and_only_those_that_were_put(path: Path, collection: Path) -> None:
    names = list(range(1300))
    with EmbeddingCache(path) as first:
        for start in range(0, 1300, 100):
            put(first.for_run(PRINT, collection), *names[start : start + 100])
    with EmbeddingCache(path) as second:
        asked = [*names[::-1], "unknown", "text: 1"]
        assert got(second.for_run(PRINT, collection), *asked) == expected(*names)


def test_a_cache_that_nobody_writes_to_makes_no_file(vectors: EmbeddingCache, path: Path, collection: Path) -> None:
    assert got(vectors.for_run(PRINT, collection), "a") == {}
    vectors.finished(collection)
    assert vectors.evict(0) == 0
    assert empty(path) == Emptied(0, 0)
    assert statistics(path).vectors == statistics(path).bytes == 0
    assert not path.exists()


@pytest.mark.parametrize("field", [field for field in asdict(PRINT) if field != "dimension"])
def test_a_vector_of_another_fingerprint_is_never_served(vectors: EmbeddingCache, collection: Path, field: str) -> None:
    put(vectors.for_run(PRINT, collection), "a")
    other = replace(PRINT, **{field: not PRINT.normalised if field == "normalised" else "another"})
    assert got(vectors.for_run(other, collection), "a") == {}
    vectors.for_run(other, collection).put(keys("a"), rows("b"), PATH)
    assert got(vectors.for_run(other, collection), "a") == {"a": rows("b").tobytes()}
    assert got(vectors.for_run(PRINT, collection), "a") == expected("a")


def test_the_file_can_be_read_without_us(vectors: EmbeddingCache, path: Path, collection: Path) -> None:
    put(vectors.for_run(PRINT, collection), "a", "b")
    assert sql(path, "PRAGMA user_version") == [(1,)]
    assert sql(path, "PRAGMA journal_mode") == [("wal",)]
    ((fingerprint,),) = sql(path, "SELECT fingerprint FROM spaces")
    assert json.loads(str(fingerprint)) == {key: value for key, value in asdict(PRINT).items() if key != "space"}
    found = sql(
        path,
        "SELECT sha256, vector, crc32, numeric_path, date(used * 86400, 'unixepoch') FROM entries "
        "JOIN vectors USING (id) JOIN spaces ON spaces.id = space ORDER BY entries.id",
    )
    day = datetime.datetime.now(datetime.UTC).date().isoformat()
    for name, row in zip("ab", found, strict=True):
        digest, vector = hashlib.sha256(f"text: {name}".encode()).digest(), expected(name)[name]
        assert row == (digest, vector, zlib.crc32(str(fingerprint).encode() + digest + vector), PATH, day)
    assert sql(path, "SELECT collection FROM runs") == [(str(collection),)]


def test_what_was_not_used_for_longest_goes_first_and_the_file_shrinks_below_its_bound(
    vectors: EmbeddingCache, path: Path, collection: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = vectors.for_run(PRINT, collection)
    for day in range(10):
        monkeypatch.setattr(cache, "today", lambda day=day: 20_000 + day)
        put(run, *range(day * 300, day * 300 + 300))
    got(run, *range(300))  # the oldest, used again on the last day
    vectors.finished(collection)
    before = statistics(path)
    assert (before.vectors, str(before.oldest_use)) == (3000, "2024-10-05")
    bound = vectors._file.pages()[0] // 2
    removed = vectors.evict(bound)
    after = statistics(path)
    assert (after.vectors, path.stat().st_size <= bound) == (3000 - removed, True)
    assert 600 < removed < 2700
    left = sorted(map(int, got(run, *range(3000))))
    assert left == [*range(300), *range(300 + removed, 3000)]
    assert got(run, *left) == expected(*left)


def test_a_bound_that_is_kept_removes_nothing(vectors: EmbeddingCache, path: Path, collection: Path) -> None:
    put(vectors.for_run(PRINT, collection), *range(500))
    vectors.finished(collection)
    assert vectors.evict(statistics(path).bytes) == 0
    assert statistics(path).vectors == 500


def test_what_a_run_has_used_or_made_stays_until_its_collection_has_published(
    vectors: EmbeddingCache, path: Path, collection: Path
) -> None:
    other = collection.with_name("other")
    other.mkdir()
    run = vectors.for_run(PRINT, collection)
    put(vectors.for_run(PRINT, other), *range(100))
    put(run, *range(100, 200))
    got(run, 5, 6)
    vectors.finished(other)
    assert vectors.evict(0) == 98
    assert statistics(path).pinned == 102
    assert statistics(path).unfinished == ("things",)
    assert got(run, *range(200)) == expected(5, 6, *range(100, 200))
    vectors.finished(collection)
    assert vectors.evict(0) == 102
    assert statistics(path).models == ()


def test_nothing_is_kept_for_a_collection_that_is_gone(vectors: EmbeddingCache, path: Path, collection: Path) -> None:
    put(vectors.for_run(PRINT, collection), *range(100))
    shutil.rmtree(collection)
    assert statistics(path).pinned == 0
    assert vectors.evict(0) == 100


def test_a_person_empties_all_or_one_model_and_is_told_what_stays(path: Path, collection: Path) -> None:
    other = collection.with_name("other")
    other.mkdir()
    with EmbeddingCache(path) as vectors:
        put(vectors.for_run(PRINT, collection), *range(50))
        put(vectors.for_run(replace(PRINT, name="two"), other), *range(1500))
        vectors.finished(other)
    sizes = [(one.name, one.vectors, one.bytes, one.numeric_path) for one in statistics(path).models]
    assert sizes == [("one", 50, 50 * 64, PATH), ("two", 1500, 1500 * 64, PATH)]
    with pytest.raises(ConfigurationError, match="it knows 'one', 'two'"):
        empty(path, "three")
    before = path.stat().st_size
    assert empty(path, "two") == Emptied(1500, 0)
    assert path.stat().st_size < before / 2
    assert empty(path) == Emptied(0, 50)
    assert empty(path, "one", pinned=True) == Emptied(50, 0)
    assert statistics(path).models == ()


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE vectors SET vector = substr(vector, 1, 63) || x'77' WHERE id = 2",
        "UPDATE vectors SET vector = substr(vector, 1, 60) WHERE id = 2",
        "UPDATE vectors SET vector = (SELECT vector FROM vectors WHERE id = 1) WHERE id = 2",
        "DELETE FROM vectors WHERE id = 2",
        "UPDATE entries SET crc32 = crc32 + 1 WHERE id = 2",
        "UPDATE entries SET space = 1 WHERE id = 4",
    ],
)
def test_a_damaged_vector_is_named_and_not_served(path: Path, collection: Path, damage: str) -> None:
    with EmbeddingCache(path) as vectors:
        put(vectors.for_run(PRINT, collection), "a", "b")
        put(vectors.for_run(replace(PRINT, name="two"), collection), "c", "d")
    sql(path, damage)
    asked, id = ("d", 4) if "space" in damage else ("b", 2)
    with EmbeddingCache(path) as vectors:
        run = vectors.for_run(PRINT, collection)
        with pytest.raises(StorageError, match=f"vector {id}, of model 'one', is not what was stored") as caught:
            got(run, asked)
        assert repr(str(path)) in caught.value.message
        assert "parecido cache --empty --all" in caught.value.message
        assert got(run, "a") == expected("a")
    assert empty(path, pinned=True).removed == 4
    with EmbeddingCache(path) as vectors:
        put(vectors.for_run(PRINT, collection), asked)
        assert got(vectors.for_run(PRINT, collection), asked) == expected(asked)


def test_whatever_byte_of_the_file_is_flipped_no_wrong_vector_is_served(path: Path, collection: Path) -> None:
    names = list(range(40))
    with EmbeddingCache(path) as vectors:
        put(vectors.for_run(PRINT, collection), *names)
        put(vectors.for_run(replace(PRINT, name="two"), collection), *names[::-1])
    whole = path.read_bytes()
    refused = []
    for at in random.Random(0).sample([at for at, byte in enumerate(whole) if byte], 200):
        for part in ("-wal", "-shm"):
            Path(f"{path}{part}").unlink(missing_ok=True)
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        with contextlib.suppress(StorageError):
            statistics(path)
        try:
            with EmbeddingCache(path) as vectors:
                found = got(vectors.for_run(PRINT, collection), *names)
            assert found.items() <= expected(*names).items()
        except StorageError as error:
            refused.append(error.message)
    assert all(repr(str(path)) in message for message in refused)
    assert len(refused) > 30


@pytest.mark.parametrize("content", [b"not a database, but more than enough text " * 200, None])
def test_a_file_that_is_damaged_is_named_and_left_as_it_is(path: Path, collection: Path, content: bytes | None) -> None:
    with EmbeddingCache(path) as vectors:
        put(vectors.for_run(PRINT, collection), *range(500))
    damaged = content or path.read_bytes()[:20_000]
    path.write_bytes(damaged)
    with EmbeddingCache(path) as vectors:
        run = vectors.for_run(PRINT, collection)
        for act in (lambda: got(run, *range(500)), lambda: put(run, *range(500, 900)), lambda: empty(path)):
            with pytest.raises(StorageError, match=r"it is damaged .*: move it away and run it again") as caught:
                act()
            assert repr(str(path)) in caught.value.message
    assert path.read_bytes() == damaged


def test_a_newer_format_and_the_database_of_another_program_are_refused_and_left_as_they_are(
    path: Path, collection: Path
) -> None:
    sql(path, "CREATE TABLE theirs (a)")
    with EmbeddingCache(path) as vectors, pytest.raises(StorageError, match="is a database of something else"):
        put(vectors.for_run(PRINT, collection), "a")
    assert sql(path, "SELECT name FROM sqlite_master") == [("theirs",)]
    sql(path, "PRAGMA user_version = 2")
    with EmbeddingCache(path) as vectors, pytest.raises(StorageError, match=r"has format 2; .* reads format 1"):
        put(vectors.for_run(PRINT, collection), "a")


def test_a_full_disk_is_a_storage_error_and_what_was_put_before_stays(
    vectors: EmbeddingCache, path: Path, collection: Path
) -> None:
    run = vectors.for_run(PRINT, collection)
    put(run, *range(100))
    connection = vectors._file._open()
    connection.execute(f"PRAGMA max_page_count = {connection.execute('PRAGMA page_count').fetchone()[0]}")
    with pytest.raises(StorageError, match="the disk is full: make room and run it again"):
        put(run, *range(100, 900))
    assert got(run, *range(900)) == expected(*range(100))
    connection.execute("PRAGMA max_page_count = 100000")
    put(run, *range(100, 900))
    assert got(run, *range(900)) == expected(*range(900))


def test_a_cache_that_cannot_be_opened_or_is_held_for_too_long_says_so(
    path: Path, collection: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder").mkdir()
    with EmbeddingCache(tmp_path / "folder") as vectors, pytest.raises(StorageError, match=r"another cache\.path"):
        put(vectors.for_run(PRINT, collection), "a")
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.01)
    with EmbeddingCache(path) as vectors, EmbeddingCache(path) as others:
        put(vectors.for_run(PRINT, collection), "a")
        with others._file.transaction(), pytest.raises(StorageError, match="another process has held it"):
            put(vectors.for_run(PRINT, collection), "b")
        put(vectors.for_run(PRINT, collection), "b")


SHARE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_embedding_cache import PRINT, expected, got, put
from indexer.models.cache import EmbeddingCache
collection = Path(sys.argv[3])
for round in range(4):
    with EmbeddingCache(Path(sys.argv[2])) as vectors:
        run = vectors.for_run(PRINT, collection)
        for start in range(0, 400, 50):
            names = [f"{round}/{number}" for number in range(start, start + 50)]
            put(run, *names)
            assert got(run, *names, "never") == expected(*names)
        if round % 2:
            vectors.finished(collection)
            vectors.evict(300_000)
"""


def test_several_processes_use_one_cache_at_once(path: Path, collection: Path) -> None:
    folders = [collection.with_name(name) for name in "abc"]
    for folder in folders:
        folder.mkdir()
    arguments = [sys.executable, "-c", SHARE, str(Path(__file__).parent), str(path)]
    processes = [subprocess.Popen([*arguments, str(folder)], stderr=subprocess.PIPE, text=True) for folder in folders]
    ends = [(process.communicate()[1], process.returncode) for process in processes]
    assert ends == [("", 0)] * 3
    assert statistics(path).pinned == 0
    assert sql(path, "PRAGMA integrity_check") == [("ok",)]
    with EmbeddingCache(path) as vectors:
        vectors.evict(200_000)
        assert path.stat().st_size <= 200_000
        names = [f"{round}/{number}" for round in range(4) for number in range(400)]
        found = got(vectors.for_run(PRINT, collection), *names)
        assert 0 < len(found) == statistics(path).vectors
        assert found.items() <= expected(*names).items()
