"""Is damage of an index of any kind found, named and mended, and can none of it end the process that reads?"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np
import pytest
from damage import SEEN_AT_ONCE, flipped, rewrite
from indexes import KINDS, Judge, first_try, members
from support import publish_items

from indexer import generation as generations
from indexer import storage
from indexer.ann import Kind
from indexer.errors import CorruptGeneration
from indexer.repair import repair
from indexer.search import Asked, nearest
from indexer.segment import ANN, Prepared
from indexer.snapshot import Snapshot, open_newest
from indexer.verify import verify


@pytest.fixture(scope="module")
def items() -> list[Prepared]:
    return members(np.random.default_rng(5), 900)


@pytest.fixture(params=KINDS)
def snapshot(
    request: pytest.FixtureRequest, tmp_path: Path, items: list[Prepared], monkeypatch: pytest.MonkeyPatch
) -> Snapshot:
    first_try(request.param, monkeypatch)
    return publish_items(tmp_path, [items], recall=0.9)


def index_of(snapshot: Snapshot) -> Path:
    return snapshot.folder.segments / snapshot.generation.segments[0].id / ANN


def assert_finds(snapshot: Snapshot, items: list[Prepared]) -> None:
    judge, shares = Judge(items), []
    for item in items[::30]:
        expected = judge.expected(item.vectors, lambda _: True)[:10]
        found = nearest(snapshot, Asked(item.vectors, 10))
        shares.append(sum(hit.similarity >= expected[-1][1] for hit in found) / 10)
    assert np.mean(shares) >= 0.9


@pytest.mark.parametrize("damage", [*SEEN_AT_ONCE, "flipped"])
def test_a_damaged_index_is_named_and_built_anew(snapshot: Snapshot, items: list[Prepared], damage: str) -> None:
    path, kind = index_of(snapshot), snapshot.segments[0].segment.ann.kind
    ({**SEEN_AT_ONCE, "flipped": flipped})[damage](path)
    (found,) = verify(snapshot.folder).damages
    assert found.path == path
    done = repair(snapshot.folder)
    assert (done.mended, done.published in (None, 2)) == ([path], True)
    mended = open_newest(snapshot.folder)
    (entry,) = mended.generation.segments
    assert entry.index is not None
    assert (entry.index.kind, verify_newest(mended)) == (kind, [])
    assert_finds(mended, items)


def verify_newest(snapshot: Snapshot) -> list[Path]:
    number = snapshot.generation.number
    return [one.path for one in verify(snapshot.folder).damages if number in one.generations]


def test_no_length_or_beginning_in_the_file_is_taken_on_trust(snapshot: Snapshot) -> None:
    path, entry = index_of(snapshot), snapshot.generation.segments[0].index
    assert entry is not None
    assert entry.frame is not None
    whole = path.read_bytes()
    assert sum(length for _, length in entry.frame.regions) < 2000
    for offset, length in entry.frame.regions:
        for at in range(offset, offset + length, 3):
            rewrite(path, lambda data, at=at: data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
            with pytest.raises(CorruptGeneration, match="is not an index of 900 vectors"):
                open_newest(snapshot.folder)
            rewrite(path, lambda _: whole)


def test_any_flipped_byte_is_refused_or_harmless_to_the_process(snapshot: Snapshot, items: list[Prepared]) -> None:
    path = index_of(snapshot)
    whole = path.read_bytes()
    for at in range(0, len(whole), max(1, len(whole) // 150)):
        rewrite(path, lambda data, at=at: data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
        with contextlib.suppress(CorruptGeneration):
            opened = open_newest(snapshot.folder)
            assert len(nearest(opened, Asked(items[at % 900].vectors, 10))) == 10
        rewrite(path, lambda _: whole)


LEVELS, OFFSETS, LINKS = "levels", "offsets", "links"

ASTRAY: Mapping[str, tuple[str, int, int]] = {
    "a link to a row there is not": (LINKS, 0, 900),
    "a link to a row that could never be": (LINKS, -1, 2**31 - 1),
    "a link to less than nothing": (LINKS, 5000, -2),
    "a row on no level": (LEVELS, 7, 0),
    "a row on a level too high": (LEVELS, -1, 3),
    "a row on a level there is not": (LEVELS, 7, 99),
    "a row below all levels": (LEVELS, 7, -1),
    "a first place that is not the first": (OFFSETS, 0, 1),
    "the place of another row": (OFFSETS, 500, 64),
    "a place outside": (OFFSETS, 500, 2**40),
    "an end that is not the end": (OFFSETS, -1, 0),
}
"""Of which part of a graph which number is another one."""


@pytest.mark.parametrize("snapshot", ["hnsw", "hnsw-sq8"], indirect=True)
def test_a_graph_that_would_lead_a_search_astray_is_not_opened(snapshot: Snapshot) -> None:
    path = index_of(snapshot)
    whole = path.read_bytes()
    for case, (part, at, number) in ASTRAY.items():
        put(snapshot, part, at, number)
        with pytest.raises(CorruptGeneration) as refused:
            pytest.fail(f"{case} was taken: {open_newest(snapshot.folder)}")
        assert refused.value.path == path
        rewrite(path, lambda _: whole)
    open_newest(snapshot.folder)


def put(snapshot: Snapshot, part: str, at: int, number: int) -> None:
    """Change one number of a graph in the index's file, where it stands between what the manifest has a checksum of."""
    path, entry = index_of(snapshot), snapshot.generation.segments[0].index
    assert entry is not None
    assert entry.frame is not None
    ends = [offset + length for offset, length in entry.frame.regions]
    starts = [offset for offset, _ in entry.frame.regions[1:]]
    between = [*zip(ends, starts, strict=False)]
    levels = next(at for at, (begin, end) in enumerate(between) if end - begin == 4 * 900)
    begin, end = between[levels + (LEVELS, OFFSETS, LINKS).index(part)]
    data = bytearray(path.read_bytes())
    numbers = np.frombuffer(memoryview(data)[begin:end], "<u8" if part == OFFSETS else "<i4")
    assert numbers[at] != number
    numbers[at] = number
    rewrite(path, lambda _: bytes(data))


def of_other_vectors(path: Path, kind: Kind, rows: np.ndarray) -> None:  # type: ignore[type-arg]
    index = faiss.read_index(str(path))
    index.reset()
    index.add(np.roll(rows, 1, axis=0))
    faiss.write_index(index, str(path))


def test_an_index_of_other_vectors_is_found_by_its_structure(snapshot: Snapshot, items: list[Prepared]) -> None:
    segment = snapshot.segments[0].segment
    assert segment.ann.first_unlike(0, segment.vectors) is None
    rows = np.array(segment.vectors)
    assert segment.ann.first_unlike(0, np.roll(rows, 1, axis=0)) == 0
    rows[777] = rows[3]
    assert segment.ann.first_unlike(0, rows) == 777
    assert segment.ann.first_unlike(700, rows[700:]) == 777
    path = index_of(snapshot)
    of_other_vectors(path, segment.ann.kind, np.array(segment.vectors))
    _sealed_anew(snapshot)
    (damage,) = verify(snapshot.folder).damages
    assert damage.path == path


def _sealed_anew(snapshot: Snapshot) -> None:
    """Have the manifest state the checksum that the index has now."""
    generation, folder = snapshot.generation, snapshot.folder
    (entry,) = generation.segments
    sealed = storage.checksum(folder.segments / entry.id / ANN)
    generations.manifest_path(folder, 1).unlink()
    with storage.lock(folder):
        files = {**entry.files, ANN: sealed}
        assert generations.publish(folder, replace(generation, segments=(replace(entry, files=files),)))
