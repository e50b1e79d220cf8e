"""Does a rollback answer exactly as the old generation did, and hold until it is told to go on?

A dict and brute force say what each generation must answer; two stand-ins for models, whose vectors have different
lengths, say by which model.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support import NAME, Place, flip
from two_models import QUERIES, Expected, Models, run

from indexer import generation as generations
from indexer.cli import main
from indexer.config import PassageSettings
from indexer.errors import CollectionNotFound, CorruptGeneration, GenerationNotFound, OnHold
from indexer.rollback import resume, rollback
from indexer.segment import VECTORS
from indexer.storage import collection_folder
from service.served import Collections

LONG = "The cat and the dog eat what is there. " * 12
FIRST = [{"id": f"{i}", "text": f"{i} cats and a dog. {LONG if i % 3 == 0 else ''}".strip(), "n": i} for i in range(9)]
SECOND = [*FIRST[2:], {**FIRST[0], "n": 50}, {"id": "more", "text": "Soup for everybody.", "n": 7}]
THIRD = [{**row, "text": f"Spoilt. {row['text']}"} for row in SECOND[1:]]
SHORT = PassageSettings(tokens=12, overlap=3)


@pytest.fixture
def models_(monkeypatch: pytest.MonkeyPatch) -> Models:
    return Models(monkeypatch)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def three(place: Place, models_: Models) -> list[Expected]:
    """Three generations; the second has other passages than the first, the third another model."""
    first = run(place, models_, FIRST)
    second = run(place, models_, SECOND, SHORT)
    models_.configured = models_.other
    return [first, second, run(place, models_, THIRD, SHORT)]


def command(place: Place, *arguments: str, code: int = 0) -> str:
    """Run a command over the store, see how it exits, and return all that it says."""
    config = place.source.parent / "parecido.toml"
    config.write_text(
        f'store = "store"\n[collections.{NAME}]\nsource = "{place.source.name}"\nmax_shrink = 1\n'
        "passages = {tokens = 12, overlap = 3}\n"
    )
    result = CliRunner().invoke(main, [*arguments, "--config", str(config)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == code, result.output
    return result.output


def printed(place: Place, *arguments: str) -> Any:
    """What a command prints as JSON."""
    return json.loads(command(place, *arguments, "--json"))


def listing(place: Place) -> dict[str, tuple[int, int]]:
    """Every file of the store but the lock and the embedding cache, with its inode and its time."""
    files = [path for path in (place.store / "collections").rglob("*") if path.is_file() and path.name != "lock"]
    return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_rollback_answers_exactly_as_the_old_generation_across_changes_of_passages_and_model(
    place: Place, models_: Models, three: list[Expected], number: int
) -> None:
    done = rollback(place.store, NAME, number)
    assert (done.number, done.origin, done.hold) == (4, number, True)
    three[number - 1].hold(models_, place.snapshot)
    old = generations.read(collection_folder(place.store, NAME), number)
    now = place.snapshot.generation
    assert (now.counts, now.schema, now.segments) == (old.counts, old.schema, old.segments)


def test_by_default_a_rollback_goes_to_the_generation_before(
    place: Place, models_: Models, three: list[Expected]
) -> None:
    assert rollback(place.store, NAME).origin == 2
    three[1].hold(models_, place.snapshot)


@pytest.mark.parametrize("number", [1, 2])
def test_the_command_and_the_service_ask_the_model_of_the_generation_never_the_configured_one(
    place: Place, models_: Models, three: list[Expected], number: int
) -> None:
    collections = Collections(place.store)
    collections.refresh()
    assert collections.get(NAME).model is models_.other
    rollback(place.store, NAME, number)
    collections.refresh()
    served = collections.get(NAME)
    assert (served.model, served.snapshot.generation.number) == (models_.first, 4)
    three[number - 1].hold(models_, served.snapshot)
    items = {row["id"]: (row["text"], {"n": row["n"]}) for row in three[number - 1].rows}
    oracle = models_.oracle(models_.first.fingerprint)
    expected = oracle.hits(items, QUERIES[0], three[number - 1].passages, lambda _: True)
    hits = printed(place, "search", NAME, QUERIES[0], "--limit", "100")["hits"]
    assert [(hit["id"], hit["similarity"]) for hit in hits] == expected


def test_two_rollbacks_in_a_row_go_further_back_and_a_third_has_nowhere_to_go(
    place: Place, models_: Models, three: list[Expected]
) -> None:
    assert rollback(place.store, NAME).origin == 2
    assert rollback(place.store, NAME).origin == 1
    three[0].hold(models_, place.snapshot)
    with pytest.raises(GenerationNotFound, match="keeps no earlier generation to go back to"):
        rollback(place.store, NAME)
    assert place.numbers == [1, 2, 3, 4, 5]


def test_a_rollback_after_a_resume_goes_further_back_too(place: Place, models_: Models, three: list[Expected]) -> None:
    rollback(place.store, NAME)
    resume(place.store, NAME)
    assert rollback(place.store, NAME).origin == 1
    three[0].hold(models_, place.snapshot)


def test_a_rollback_can_be_taken_back_by_number(place: Place, models_: Models, three: list[Expected]) -> None:
    rollback(place.store, NAME, 1)
    rollback(place.store, NAME, 3)
    three[2].hold(models_, place.snapshot)


@pytest.mark.parametrize("again", [False, True], ids=["one rollback", "two rollbacks"])
def test_runs_are_refused_until_resume_and_the_next_one_brings_the_source_back(
    place: Place, models_: Models, three: list[Expected], again: bool
) -> None:
    back = rollback(place.store, NAME)
    if again:
        back = rollback(place.store, NAME)
    before = place.numbers
    for rebuild in (False, True):
        with pytest.raises(OnHold, match=f"generation {back.origin} again, after a rollback. `parecido resume things`"):
            place.run(passages=SHORT, rebuild=rebuild)
    assert "`parecido resume things` lets runs go on" in command(place, "index", code=7)
    assert place.numbers == before
    three[0 if again else 1].hold(models_, place.snapshot)
    said = command(place, "resume", NAME)
    assert said == f"things: generation {back.number + 1} published, hold lifted\n"
    three[0 if again else 1].hold(models_, place.snapshot)
    assert f"generation {back.number + 2} published" in command(place, "index")
    three[2].hold(models_, place.snapshot)
    assert place.snapshot.generation.origin is None


def test_runs_after_a_rollback_keep_what_the_source_has_by_then(place: Place, models_: Models) -> None:
    run(place, models_, FIRST)
    run(place, models_, THIRD)
    rollback(place.store, NAME)
    resume(place.store, NAME)
    run(place, models_, SECOND).hold(models_, place.snapshot)
    rollback(place.store, NAME, 2)
    Expected(THIRD, PassageSettings(), models_.first).hold(models_, place.snapshot)


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


def test_a_dry_run_tells_of_a_hold_whose_generation_is_damaged_as_a_run_does(
    place: Place, three: list[Expected]
) -> None:
    rollback(place.store, NAME, 1)
    folder = collection_folder(place.store, NAME)
    spoil(folder.segments / generations.current(folder).segments[0].id / VECTORS, "the vectors cut")
    with pytest.raises(OnHold):
        place.run(passages=SHORT)
    assert "the collection is on hold after a rollback" in command(place, "index", "--dry-run")


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


def test_generations_and_status_tell_origin_and_hold(place: Place, three: list[Expected]) -> None:
    assert printed(place, "rollback", NAME, "1")["origin"] == 1
    told = {one["generation"]: (one["origin"], one["hold"]) for one in printed(place, "generations", NAME)}
    assert told == {4: (1, True), 3: (None, False), 2: (None, False), 1: (None, False)}
    assert "(the content of generation 1, on hold)" in command(place, "generations", NAME).splitlines()[0]
    (one,) = printed(place, "status")["collections"]
    assert (one["current"]["generation"], one["current"]["origin"], one["current"]["hold"]) == (4, 1, True)
    line = "on hold after a rollback to generation 1: `parecido resume things` goes on"
    assert line in command(place, "status")
    command(place, "resume", NAME)
    newest = printed(place, "generations", NAME)[0]
    assert (newest["generation"], newest["origin"], newest["hold"]) == (5, 1, False)
    assert command(place, "generations", NAME).splitlines()[0].endswith("(the content of generation 1)")
    (one,) = printed(place, "status")["collections"]
    assert (one["current"]["origin"], one["current"]["hold"]) == (1, False)
    assert "on hold" not in command(place, "status")


def test_a_rollback_from_the_command_line_says_what_it_did(place: Place, three: list[Expected]) -> None:
    assert command(place, "rollback", NAME) == (
        "things: generation 4 published with the content of generation 2; on hold until `parecido resume things`\n"
    )


def test_what_was_rolled_back_to_outlives_the_pruning_of_its_number(
    place: Place, models_: Models, three: list[Expected]
) -> None:
    rollback(place.store, NAME, 1)
    command(place, "prune", "--keep", "1", "--days", "0")
    assert place.numbers == [4]
    three[0].hold(models_, place.snapshot)
    with pytest.raises(GenerationNotFound):
        rollback(place.store, NAME)
    resume(place.store, NAME)
    three[0].hold(models_, place.snapshot)
