"""Does a collection answer as it did before after a rollback, and stay so until somebody lets runs go on?"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import NAME, QUERY, Place, Runs, StandIn, assert_tidy, assert_whole, flip
from three_generations import A, B, C, three_generations

from indexer import generation as generations
from indexer import models
from indexer.errors import (
    CollectionLocked,
    CollectionNotFound,
    CorruptGeneration,
    GenerationNotFound,
    ModelUnavailable,
    OnHold,
)
from indexer.queries import Query, search
from indexer.rollback import resume, rollback
from indexer.snapshot import open_generation
from indexer.storage import CollectionFolder, collection_folder, lock


@pytest.fixture
def place(tmp_path: Path, stand_in: StandIn) -> Place:
    return three_generations(tmp_path)


def folder(place: Place) -> CollectionFolder:
    return collection_folder(place.store, NAME)


def hits(place: Place, model: models.Model, number: int | None = None) -> list[Any]:
    """All that a generation, or the current one, answers."""
    snapshot = place.snapshot if number is None else open_generation(folder(place), number)
    include = ("text", "metadata", "passages", "vector")
    return list(search(snapshot, lambda: model, Query(text=QUERY, limit=100, include=include))["hits"])


@pytest.mark.parametrize(("number", "rows"), [(None, B), (1, A), (2, B), (3, C)])
def test_a_collection_that_was_rolled_back_answers_exactly_as_the_old_generation_did(
    place: Place, stand_in: StandIn, number: int | None, rows: list[dict[str, Any]]
) -> None:
    target = number or 2
    before = hits(place, stand_in, target)
    stand_in.asked.clear()
    done = rollback(place.store, NAME, number)
    assert (done.number, done.origin, done.hold) == (4, target, True)
    assert place.numbers == [1, 2, 3, 4]
    assert hits(place, stand_in) == before
    assert stand_in.asked == []
    assert_whole(place.store, rows, stand_in)
    assert_tidy(place.store)


def test_runs_are_refused_until_the_hold_is_lifted_and_then_the_source_is_back(place: Place, stand_in: StandIn) -> None:
    rollback(place.store, NAME)
    for run in (place.run, lambda: place.run(C, rebuild=True), lambda: place.run([*C, *A])):
        with pytest.raises(OnHold) as caught:
            run()
    assert caught.value.message == (
        "Collection 'things' is on hold: its generation 4 has the content of generation 2 again, after a rollback. "
        "`parecido resume things` lets runs go on."
    )
    assert_whole(place.store, B, stand_in)
    assert place.numbers == [1, 2, 3, 4]
    done = resume(place.store, NAME)
    assert done is not None
    assert (done.number, done.origin, done.hold) == (5, 2, False)
    assert_whole(place.store, B, stand_in)
    stand_in.asked.clear()
    report = place.run(C)
    assert (report.generation, report.items.added, report.items.deleted) == (6, 4, 5)
    assert stand_in.asked == [], "the embedding cache has what the source had before"
    assert_whole(place.store, C, stand_in)
    assert generations.current(folder(place)).origin is None
    assert resume(place.store, NAME) is None
    assert place.numbers[-1] == 6


def test_a_collection_on_hold_is_refused_before_its_model_or_its_source_is_looked_for(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(settings: Any) -> models.Fingerprint:
        raise ModelUnavailable("There is no such model.")

    rollback(place.store, NAME)
    monkeypatch.setattr(models, "identify", missing)
    place.source.unlink()
    with pytest.raises(OnHold):
        place.run()


def test_a_second_rollback_goes_further_back_and_a_third_finds_nothing(place: Place, stand_in: StandIn) -> None:
    assert rollback(place.store, NAME).origin == 2
    assert rollback(place.store, NAME).origin == 1
    assert_whole(place.store, A, stand_in)
    with pytest.raises(GenerationNotFound) as caught:
        rollback(place.store, NAME)
    assert caught.value.message == (
        "Collection 'things' keeps no earlier generation to go back to: keep_generations and keep_days say how many "
        "are kept."
    )
    assert rollback(place.store, NAME, 3).origin == 3
    assert_whole(place.store, C, stand_in)
    assert rollback(place.store, NAME).origin == 2
    assert place.numbers == [1, 2, 3, 4, 5, 6, 7]


def test_a_rollback_after_resuming_and_one_after_the_next_run_go_back_from_what_is_current(
    place: Place, stand_in: StandIn
) -> None:
    rollback(place.store, NAME)
    resume(place.store, NAME)
    assert rollback(place.store, NAME).origin == 1
    resume(place.store, NAME)
    place.run(C)
    assert rollback(place.store, NAME).origin == 7
    assert_whole(place.store, A, stand_in)


def test_a_rollback_goes_back_across_what_a_rollback_had_again(place: Place, stand_in: StandIn) -> None:
    rollback(place.store, NAME, 1)
    rollback(place.store, NAME, 4)
    assert generations.current(folder(place)).origin == 4
    assert_whole(place.store, A, stand_in)
    with pytest.raises(GenerationNotFound, match="keeps no earlier generation"):
        rollback(place.store, NAME)


def test_a_collection_goes_back_to_another_model_and_on_to_the_new_one(
    place: Place, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Other(StandIn):
        fingerprint = replace(StandIn.fingerprint, name="other", revision="1")

        def embed_query(self, texts: Any) -> Any:
            return -super().embed_query(texts)[:, ::-1]

    other = Other()
    of = {model.fingerprint: model for model in (stand_in, other)}
    monkeypatch.setattr(models, "load", lambda fingerprint, device=None: of[fingerprint])
    old = hits(place, stand_in)
    monkeypatch.setattr(models, "identify", lambda settings: other.fingerprint)
    assert place.run(C).reason == "the model changed from 'stand-in' to 'other'"
    new = hits(place, other)
    assert new != old
    done = rollback(place.store, NAME)
    assert (done.origin, done.fingerprint) == (3, stand_in.fingerprint)
    assert hits(place, stand_in) == old
    with pytest.raises(OnHold):
        place.run()
    resume(place.store, NAME)
    other.asked.clear()
    assert place.run(C).reason == "the model changed from 'stand-in' to 'other'"
    assert hits(place, other) == new
    assert other.asked == [], "the embedding cache has both models' vectors"
    assert rollback(place.store, NAME, 4).fingerprint == other.fingerprint
    assert hits(place, other) == new


@pytest.mark.parametrize("settings", [{"passages": {"tokens": 8, "overlap": 2}}, {"store_text": False}])
def test_a_collection_goes_back_across_other_settings(
    place: Place, stand_in: StandIn, settings: dict[str, Any]
) -> None:
    before = hits(place, stand_in)
    place.run(C, **settings)
    after = hits(place, stand_in)
    assert after != before
    done = rollback(place.store, NAME)
    assert (done.origin, done.passages, done.store_text) == (
        3,
        open_generation(folder(place), 3).generation.passages,
        True,
    )
    assert hits(place, stand_in) == before
    resume(place.store, NAME)
    assert place.run(C, **settings).published
    assert hits(place, stand_in) == after


def test_there_must_be_a_collection_a_generation_and_nobody_at_it(place: Place, tmp_path: Path) -> None:
    with pytest.raises(GenerationNotFound, match="'things' has no generation 9: it has 1, 2, 3"):
        rollback(place.store, NAME, 9)
    for act in (rollback, resume):
        with pytest.raises(CollectionNotFound, match="'nobody' has no published generation"):
            act(place.store, "nobody")
        with lock(folder(place)), pytest.raises(CollectionLocked, match="is being indexed by"):
            act(place.store, NAME)
    place.run(A, keep_generations=1, keep_days=0)
    with pytest.raises(GenerationNotFound, match="keeps no earlier generation to go back to"):
        rollback(place.store, NAME)
    with pytest.raises(GenerationNotFound, match="'things' has no generation 3: it has 4"):
        rollback(place.store, NAME, 3)
    assert place.numbers == [4]


@pytest.mark.parametrize("name", ["vectors.f32", "items.arrow", "ann.faiss", "deleted", "manifest"])
@pytest.mark.parametrize("number", [2, None])
def test_nobody_is_taken_back_to_a_damaged_generation(
    place: Place, stand_in: StandIn, name: str, number: int | None
) -> None:
    (new,) = folder(place).segments.glob("000002-*")
    (bitmap,) = (folder(place).generations / "000002").iterdir()
    path = {"deleted": bitmap, "manifest": folder(place).generations / "000002.json"}.get(name, new / name)
    flip(path, path.stat().st_size // 2)
    with pytest.raises(CorruptGeneration) as caught:
        rollback(place.store, NAME, number)
    assert caught.value.message.startswith("Generation 2 of 'things' is damaged, and nothing was rolled back: ")
    assert repr(str(path)) in caught.value.message
    assert "`parecido generations things` lists them" in caught.value.message
    assert place.numbers == [1, 2, 3]
    assert_whole(place.store, C, stand_in)
    assert rollback(place.store, NAME, 1).number == 4
    assert_whole(place.store, A, stand_in)


def test_a_damaged_current_generation_is_gone_back_from(place: Place, stand_in: StandIn) -> None:
    path = folder(place).generations / "000003.json"
    flip(path, path.stat().st_size // 2)
    assert rollback(place.store, NAME).origin == 2
    assert_whole(place.store, B, stand_in)


def test_a_hold_counts_even_where_what_it_holds_is_damaged(place: Place) -> None:
    rollback(place.store, NAME, 2)
    (segment,) = folder(place).segments.glob("000002-*")
    (segment / "vectors.f32").unlink()
    assert place.snapshot.generation.number == 3
    with pytest.raises(OnHold, match="its generation 4 has the content of generation 2 again"):
        place.run()


@pytest.mark.parametrize("verb", ["rollback", "resume"])
def test_one_that_is_killed_at_any_step_has_taken_place_or_has_not(
    place: Place, stand_in: StandIn, runs: Runs, tmp_path: Path, verb: str
) -> None:
    if verb == "resume":
        rollback(place.store, NAME)
    shutil.copytree(place.store, tmp_path / "before")
    before, after = place.numbers[-1], place.numbers[-1] + 1
    steps = runs.run(place, 0, verb=verb)
    assert steps is not None
    assert {"fsync", "link", "mkdir", "unlink", "write"} <= set(steps)
    done = set()
    for kill in range(1, len(steps) + 1):
        where = f"killed before step {kill}, {steps[kill - 1]}"
        shutil.rmtree(place.store)
        shutil.copytree(tmp_path / "before", place.store)
        assert runs.run(place, kill, verb=verb) is None, where
        current = generations.current(folder(place))
        assert current.number in (before, after), where
        done.add(current.number)
        assert current.hold == ((verb == "rollback") == (current.number == after)), where
        assert_whole(place.store, B if current.number == after or verb == "resume" else C, stand_in)
        resume(place.store, NAME)
        place.run(A)
        assert_whole(place.store, A, stand_in)
        assert_tidy(place.store)
    assert done == {before, after}


def test_vectors_are_the_same_bits_after_going_back(place: Place) -> None:
    old = open_generation(folder(place), 2)
    rollback(place.store, NAME)
    for then, now in zip(old.segments, place.snapshot.segments, strict=True):
        np.testing.assert_array_equal(then.segment.vectors, now.segment.vectors)
        assert (then.live is None) == (now.live is None)
        if then.live is not None:
            np.testing.assert_array_equal(then.live, now.live)
