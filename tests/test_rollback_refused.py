"""What becomes of a rollback or a resume that cannot be, and of one in a store that is damaged?

What is refused changes no file and says what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from rolled import FIRST, SECOND, SHORT, command, listing, printed
from support import NAME, Place, flip
from two_models import Expected, Models, run

from indexer import generation as generations
from indexer.errors import CollectionNotFound, CorruptGeneration, OnHold
from indexer.rollback import resume, rollback
from indexer.segment import VECTORS
from indexer.storage import collection_folder

pytest_plugins = ["rolled_fixtures"]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_resuming_what_is_not_on_hold_says_so_and_publishes_nothing(place: Place, three: list[Expected]) -> None:
    before = listing(place)
    assert command(place, "resume", NAME) == "things: not on hold\n"
    assert printed(place, "resume", NAME) == {"collection": NAME, "resumed": False, "generation": None}
    assert listing(place) == before


def test_a_rollback_to_a_number_that_is_not_kept_says_which_are(place: Place, three: list[Expected]) -> None:
    before = listing(place)
    said = command(place, "rollback", NAME, "7", code=2)
    assert "Collection 'things' has no generation 7: it has 1, 2, 3." in said
    assert listing(place) == before


def test_a_rollback_where_one_generation_is_kept_says_what_to_set(place: Place, models_: Models) -> None:
    run(place, models_, FIRST)
    place.run(SECOND, keep_generations=1, keep_days=0)
    before = listing(place)
    assert place.numbers == [2]
    said = command(place, "rollback", NAME, code=2)
    assert "keeps no earlier generation to go back to: keep_generations and keep_days" in said
    assert listing(place) == before


@pytest.mark.parametrize("damage", ["a byte of the vectors", "the vectors cut", "the vectors gone", "the manifest"])
def test_a_rollback_to_a_damaged_generation_names_the_file_and_publishes_nothing(
    place: Place, models_: Models, three: list[Expected], damage: str
) -> None:
    folder = collection_folder(place.store, NAME)
    entry = generations.read(folder, 2).segments[0]
    path = generations.manifest_path(folder, 2) if damage == "the manifest" else folder.segments / entry.id / VECTORS
    spoil(path, damage)
    before = listing(place)
    said = command(place, "rollback", NAME, code=1)
    assert "Generation 2 of 'things' is damaged, and nothing was rolled back" in said
    assert f"{str(path)!r}" in said
    assert listing(place) == before
    three[2].hold(models_, place.snapshot)
    assert rollback(place.store, NAME, 1).origin == 1
    three[0].hold(models_, place.snapshot)


def spoil(path: Path, damage: str) -> None:
    """Damage a file in one of several ways."""
    if damage == "the vectors gone":
        path.unlink()
    elif damage == "the vectors cut":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        flip(path, path.stat().st_size // 2)


def test_what_is_current_may_be_damaged_when_it_is_rolled_back(
    place: Place, models_: Models, three: list[Expected]
) -> None:
    flip(generations.manifest_path(collection_folder(place.store, NAME), 3), 400)
    assert rollback(place.store, NAME).origin == 2
    three[1].hold(models_, place.snapshot)


def test_a_hold_that_was_lifted_by_a_generation_that_is_damaged_can_be_lifted_again(
    place: Place, models_: Models, three: list[Expected]
) -> None:
    rollback(place.store, NAME)
    resume(place.store, NAME)
    flip(generations.manifest_path(collection_folder(place.store, NAME), 5), 400)
    with pytest.raises(OnHold, match="`parecido resume things`"):
        place.run(passages=SHORT)
    done = resume(place.store, NAME)
    assert done is not None
    assert (done.number, done.hold, done.origin) == (6, False, 2)
    three[1].hold(models_, place.snapshot)
    assert place.run(passages=SHORT).published
    three[2].hold(models_, place.snapshot)


def test_a_dry_run_and_the_status_tell_of_a_hold_whose_generation_is_damaged(
    place: Place, three: list[Expected]
) -> None:
    rollback(place.store, NAME, 1)
    folder = collection_folder(place.store, NAME)
    spoil(folder.segments / generations.current(folder).segments[0].id / VECTORS, "the vectors cut")
    with pytest.raises(OnHold):
        place.run(passages=SHORT)
    assert "the collection is on hold after a rollback" in command(place, "index", "--dry-run")
    said = command(place, "status", code=1)
    assert "generation 4 is damaged" in said
    assert "on hold after a rollback to generation 1: `parecido resume things` goes on" in said
    command(place, "resume", NAME)
    assert "on hold after" not in command(place, "status", code=1)


def test_a_resume_of_a_damaged_generation_without_any_other_names_the_file(place: Place, models_: Models) -> None:
    run(place, models_, FIRST)
    path = generations.manifest_path(collection_folder(place.store, NAME), 1)
    flip(path, 400)
    with pytest.raises(CorruptGeneration, match=path.name):
        resume(place.store, NAME)


ACTS: list[Callable[[Path, str], object]] = [rollback, resume]


@pytest.mark.parametrize("act", ACTS)
def test_a_mistyped_collection_makes_no_folder(
    place: Place, three: list[Expected], act: Callable[[Path, str], object]
) -> None:
    before = sorted(place.store.rglob("*"))
    with pytest.raises(CollectionNotFound, match="'thinks' has no published generation"):
        act(place.store, "thinks")
    assert sorted(place.store.rglob("*")) == before
    for name in ("rollback", "resume", "generations"):
        assert "'thinks'" in command(place, name, "thinks", code=2)
    assert sorted(place.store.rglob("*")) == before


@pytest.mark.parametrize("act", ACTS)
def test_a_store_that_is_not_there_is_not_made(tmp_path: Path, act: Callable[[Path, str], object]) -> None:
    with pytest.raises(CollectionNotFound):
        act(tmp_path / "nowhere", NAME)
    assert not (tmp_path / "nowhere").exists()
