"""Does another model, or other passage settings, build a whole new generation beside the one that answers?

Two stand-ins for models, whose vectors have different lengths; a dict and brute force say what each must answer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support import NAME, Place
from two_models import Expected, Models, run

from indexer.config import PassageSettings
from indexer.errors import ModelUnavailable
from indexer.rollback import resume, rollback
from indexer.snapshot import open_generation
from indexer.storage import collection_folder
from service.served import Collections

pytest_plugins = ["rolled_fixtures"]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


WORDS = "The cat and the dog eat what is there. " * 12
ROWS = [{"id": f"{i}", "text": f"{i} cats and a dog. {WORDS if i % 3 == 0 else ''}".strip(), "n": i} for i in range(9)]
CHANGED = [*ROWS[1:], {**ROWS[0], "text": "Soup for everybody."}]
SHORT = PassageSettings(tokens=12, overlap=3)


def opened(place: Place, number: int) -> Any:
    """A kept generation."""
    return open_generation(collection_folder(place.store, NAME), number)


def test_another_model_embeds_everything_and_leaves_the_old_generation_as_it_was(place: Place, models_: Models) -> None:
    old = run(place, models_, ROWS)
    models_.configured = models_.other
    report = place.run()
    assert (report.published, report.items.unchanged) == (True, 9)
    assert sorted(models_.other.asked) == sorted(models_.first.asked)
    assert "'stand-in' to 'other'" in report.reason
    Expected(ROWS, PassageSettings(), models_.other).hold(models_, place.snapshot)
    old.hold(models_, opened(place, 1))
    segments = [{entry.id for entry in opened(place, number).generation.segments} for number in (1, 2)]
    assert not segments[0] & segments[1]


def test_a_change_of_model_passages_and_source_at_once_is_one_generation(place: Place, models_: Models) -> None:
    run(place, models_, ROWS)
    models_.configured = models_.other
    run(place, models_, CHANGED, SHORT).hold(models_, place.snapshot)
    assert place.numbers == [1, 2]
    assert not place.run(passages=SHORT).published


def test_the_old_generation_answers_until_the_new_one_is_whole(
    place: Place, models_: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = run(place, models_, ROWS)
    collections = Collections(place.store)
    collections.refresh()
    models_.configured = models_.other
    embed, looks = models_.other.embed_documents, 0

    def looking(texts: Any) -> Any:
        nonlocal looks
        looks += 1
        collections.refresh()
        old.hold(models_, collections.get(NAME).snapshot)
        old.hold(models_, place.snapshot)
        return embed(texts)

    monkeypatch.setattr(models_.other, "embed_documents", looking)
    new = run(place, models_, CHANGED)
    assert looks
    held = collections.get(NAME)
    collections.refresh()
    assert collections.get(NAME).model is models_.other
    new.hold(models_, collections.get(NAME).snapshot)
    assert held.model is models_.first
    old.hold(models_, held.snapshot)


def test_a_change_of_the_model_that_fails_leaves_what_is_current(
    place: Place, models_: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = run(place, models_, ROWS)
    models_.configured = models_.other

    def failing(texts: Any) -> Any:
        raise ModelUnavailable("It went away.")

    with monkeypatch.context() as patch:
        patch.setattr(models_.other, "embed_documents", failing)
        with pytest.raises(ModelUnavailable):
            place.run()
    assert place.numbers == [1]
    old.hold(models_, place.snapshot)
    run(place, models_, ROWS).hold(models_, place.snapshot)


def test_after_a_rollback_across_models_the_configured_one_comes_back_from_the_cache(
    place: Place, models_: Models
) -> None:
    old = run(place, models_, ROWS)
    models_.configured = models_.other
    new = run(place, models_, ROWS)
    rollback(place.store, NAME)
    old.hold(models_, place.snapshot)
    resume(place.store, NAME)
    old.hold(models_, place.snapshot)
    report = place.run()
    assert (report.published, report.passages.embedded) == (True, 0)
    new.hold(models_, place.snapshot)


def test_after_a_rollback_the_old_model_may_be_configured_again_and_changes_go_on_from_there(
    place: Place, models_: Models
) -> None:
    old = run(place, models_, ROWS)
    models_.configured = models_.other
    run(place, models_, CHANGED)
    rollback(place.store, NAME)
    models_.configured = models_.first
    resume(place.store, NAME)
    old.hold(models_, place.snapshot)
    assert not place.run(ROWS).published
    run(place, models_, CHANGED).hold(models_, place.snapshot)


def test_another_model_counts_as_nothing_lost_for_the_brakes(place: Place, models_: Models) -> None:
    run(place, models_, ROWS)
    models_.configured = models_.other
    assert place.run(max_shrink=0).published
    Expected(ROWS, PassageSettings(), models_.other).hold(models_, place.snapshot)
