"""Does a rollback answer exactly as the old generation did, and hold until it is told to go on?

A dict and brute force say what each generation must answer; two stand-ins for models, whose vectors have different
lengths, say by which model.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from rolled import FIRST, SECOND, SHORT, THIRD, command, printed
from support import NAME, Place
from two_models import QUERIES, Expected, Models, run

from indexer import generation as generations
from indexer.config import PassageSettings
from indexer.errors import GenerationNotFound, OnHold
from indexer.rollback import resume, rollback
from indexer.storage import collection_folder
from service.served import Collections

pytest_plugins = ["rolled_fixtures"]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


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


def test_generations_and_status_tell_origin_and_hold(place: Place, three: list[Expected]) -> None:
    assert printed(place, "rollback", NAME, "1")["origin"] == 1
    told = {one["generation"]: (one["origin"], one["hold"]) for one in printed(place, "generations", NAME)}
    assert told == {4: (1, True), 3: (None, False), 2: (None, False), 1: (None, False)}
    assert "(the content of generation 1, on hold)" in command(place, "generations", NAME).splitlines()[0]
    (one,) = printed(place, "status")["collections"]
    assert (one["current"]["generation"], one["current"]["origin"], one["current"]["hold"]) == (4, 1, True)
    assert one["held_at"] == 1
    line = "on hold after a rollback to generation 1: `parecido resume things` goes on"
    assert line in command(place, "status")
    command(place, "resume", NAME)
    newest = printed(place, "generations", NAME)[0]
    assert (newest["generation"], newest["origin"], newest["hold"]) == (5, 1, False)
    assert command(place, "generations", NAME).splitlines()[0].endswith("(the content of generation 1)")
    (one,) = printed(place, "status")["collections"]
    assert (one["current"]["origin"], one["current"]["hold"], one["held_at"]) == (1, False, None)
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
