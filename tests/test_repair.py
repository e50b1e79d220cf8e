"""Does `parecido repair` mend what can be derived, and leave alone what cannot?"""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner, Result
from damage import (
    DAMAGES,
    NEW,
    OLD,
    Damaging,
    assert_answers_as,
    content_of,
    cut,
    files_of,
    flipped,
    missing,
    own_file,
    replaced,
)
from damage import (
    folder as in_the_way,
)
from support import NAME, Place, StandIn, assert_tidy, assert_whole, contents, expected

from indexer import generation as generations
from indexer.errors import CollectionLocked, CorruptGeneration
from indexer.repair import repair
from indexer.rollback import rollback
from indexer.snapshot import open_newest
from indexer.storage import CollectionFolder, lock
from indexer.verify import verify
from service.cli import main

pytest_plugins = ["damage_fixtures"]


DERIVED = ("ids.arrow", "ann.faiss")


def told(place: Place, *arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, ["repair", "--store", str(place.store), *arguments])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


def published(folder: CollectionFolder) -> dict[str, bytes | None]:
    """Everything that was ever published there."""
    names = ("generations", "segments")
    return {f"{name}/{path}": data for name in names for path, data in content_of(folder.path / name).items()}


def test_a_whole_collection_is_left_as_it_is(place: Place, folder: CollectionFolder) -> None:
    before = published(folder)
    done = repair(folder)
    assert (done.mended, done.published, done.damages, published(folder)) == ([], None, [], before)
    assert told(place).stdout == "things: 0 files mended, 0 still damaged\n"


@pytest.mark.parametrize("damaging", [DAMAGES[kind] for kind in ("flipped", "cut", "missing")])
@pytest.mark.parametrize("names", [DERIVED[:1], DERIVED[1:], DERIVED])
def test_a_derived_file_is_put_back_byte_for_byte_and_every_generation_is_whole_again(
    place: Place, folder: CollectionFolder, stand_in: StandIn, damaging: Damaging, names: tuple[str, ...]
) -> None:
    before = published(folder)
    for number in (1, 2):
        paths = sorted(own_file(folder, number, name) for name in names)
        for path in paths:
            damaging(path)
        done = repair(folder)
        assert (sorted(done.mended), done.published, done.damages) == (paths, None, [])
        assert published(folder) == before
    assert verify(folder).damages == []
    assert_tidy(place.store)
    assert_whole(place.store, NEW, stand_in)
    assert place.run().published is False


def test_the_command_says_what_was_mended_and_what_was_not(place: Place, folder: CollectionFolder) -> None:
    ids, items = own_file(folder, 1, "ids.arrow"), own_file(folder, 2, "items.arrow")
    flipped(ids)
    assert told(place).stdout == f"things: 1 file mended, 0 still damaged\n  mended {ids}\n"
    flipped(ids)
    flipped(items)
    lines = told(place, code=1).stdout.splitlines()
    assert lines[:2] == ["things: 1 file mended, 1 still damaged", f"  mended {ids}"]
    assert lines[2].startswith(f"  {items} (generation 2): its checksum is ")
    assert lines[3] == "  `parecido index things --rebuild` builds it anew"
    (answer,) = json.loads(told(place, "--json", code=1).stdout)
    assert (answer["collection"], answer["mended"], answer["published"]) == (NAME, [], None)
    assert answer["damages"][0]["path"] == str(items)


def test_where_other_bytes_come_out_a_new_generation_has_the_segment_under_a_new_name(
    place: Place, folder: CollectionFolder, stand_in: StandIn, another_faiss: None
) -> None:
    before, second = published(folder), generations.read(folder, 2)
    index, ids = own_file(folder, 1, "ann.faiss"), own_file(folder, 1, "ids.arrow")
    flipped(index)
    flipped(ids)
    done = repair(folder)
    assert (done.mended, done.published) == ([index, ids], 3)
    assert {damage.path: damage.generations for damage in done.damages} == {index: (1, 2), ids: (1, 2)}
    assert_answers_as(folder, 3, NEW, stand_in)
    third = generations.read(folder, 3)
    assert (third.counts, third.origin, third.schema) == (second.counts, 2, second.schema)
    assert third.segments[1:] == second.segments[1:]
    assert third.segments[0].files["ids.arrow"] == second.segments[0].files["ids.arrow"]
    assert [bitmap.items for bitmap in third.deleted.values()] == [2]
    after = published(folder)
    assert {path for path in before if before[path] != after[path]} == {
        str(path.relative_to(folder.path)) for path in (index, ids)
    }
    assert_tidy(place.store)
    assert (place.run().published, place.run([*NEW, OLD[5]]).generation) == (False, 4)
    assert_whole(place.store, [*NEW, OLD[5]], stand_in)
    assert (repair(folder).published, place.numbers) == (None, [1, 2, 3, 4])


def test_a_derived_file_of_an_older_generation_alone_is_not_worth_a_new_one(
    place: Place, folder: CollectionFolder, another_faiss: None
) -> None:
    place.run(rebuild=True)
    before, index = published(folder), own_file(folder, 1, "ann.faiss")
    missing(index)
    done = repair(folder)
    assert (done.mended, done.published) == ([], None)
    assert [(damage.path, damage.generations) for damage in done.damages] == [(index, (1, 2))]
    assert published(folder).items() < before.items()
    assert place.numbers == [1, 2, 3]


def test_what_becomes_whole_is_published_even_if_it_is_older_than_what_is_lost(
    place: Place, folder: CollectionFolder, stand_in: StandIn, another_faiss: None
) -> None:
    index, items = own_file(folder, 1, "ann.faiss"), own_file(folder, 2, "items.arrow")
    cut(index)
    cut(items)
    with pytest.raises(CorruptGeneration):
        open_newest(folder)
    done = repair(folder)
    assert (done.mended, done.published) == ([index], 3)
    assert items in {damage.path for damage in done.damages}
    assert_answers_as(folder, 3, OLD, stand_in)
    assert generations.read(folder, 3).origin == 1
    assert place.run().published
    assert_whole(place.store, NEW, stand_in)


def test_a_hold_outlives_a_repair(place: Place, folder: CollectionFolder, another_faiss: None) -> None:
    rollback(place.store, NAME)
    flipped(own_file(folder, 1, "ann.faiss"))
    assert repair(folder).published == 4
    assert generations.read(folder, 4).hold


def test_a_folder_in_the_place_of_a_derived_file_stays_where_it_is(
    place: Place, folder: CollectionFolder, stand_in: StandIn
) -> None:
    index = own_file(folder, 2, "ann.faiss")
    in_the_way(index)
    (index / "notes.txt").write_text("somebody's")
    assert repair(folder).published == 3
    assert (index / "notes.txt").read_text() == "somebody's"
    assert_answers_as(folder, 3, NEW, stand_in)


@pytest.mark.parametrize("name", [".json", ".deleted", "items.arrow", "passages.arrow", "vectors.f32"])
@pytest.mark.parametrize("damaging", DAMAGES.values(), ids=DAMAGES)
def test_what_cannot_be_derived_is_named_and_nothing_is_removed(
    place: Place, folder: CollectionFolder, name: str, damaging: Damaging
) -> None:
    damaging(path := own_file(folder, 2, name))
    before = published(folder)
    done = repair(folder)
    assert (done.mended, done.published) == ([], None)
    assert [(damage.path, damage.generations) for damage in done.damages] == [(path, (2,))]
    assert published(folder) == before
    if name == ".json" or damaging is not flipped:
        assert open_newest(folder).generation.number == 1
        assert contents(place.store) == expected(OLD)


def test_nothing_that_a_damaged_manifest_may_need_is_removed_by_run_prune_or_repair(
    place: Place, folder: CollectionFolder, stand_in: StandIn
) -> None:
    manifest = own_file(folder, 2, ".json")
    whole = manifest.read_bytes()
    kept = {path: path.read_bytes() for path in files_of(folder, 2)[1:]}
    flipped(manifest)
    repair(folder)
    assert place.run(keep_generations=1, keep_days=0).generation == 3
    repair(folder)
    assert {path: path.read_bytes() for path in kept} == kept
    assert_whole(place.store, NEW, stand_in)
    manifest.write_bytes(whole)
    assert verify(folder).damages == []


def test_a_repair_waits_for_no_run(place: Place, folder: CollectionFolder) -> None:
    with lock(folder):
        with pytest.raises(CollectionLocked):
            repair(folder)
        assert "is being indexed by" in told(place, code=5).stderr


def test_a_manifest_that_is_missing_can_be_brought_back_after_a_repair(
    place: Place, folder: CollectionFolder, stand_in: StandIn, another_faiss: None
) -> None:
    manifest = own_file(folder, 2, ".json")
    whole = manifest.read_bytes()
    manifest.unlink()
    flipped(own_file(folder, 1, "ann.faiss"))
    assert repair(folder).published == 3
    assert_answers_as(folder, 3, OLD, stand_in)
    manifest.write_bytes(whole)
    replaced(folder.segments, place.store.parent / "before" / "collections" / NAME / "segments")
    assert [damage.generations for damage in verify(folder).damages] == [(3,)] * 5
