"""Does `parecido prune` remove what its settings and options say, and say what it removes?"""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from support import NAME, Place, StandIn, settings_for

from indexer import storage
from indexer.storage import collection_folder
from service.cli import main


def publish(place: Place, last: int, **settings: Any) -> None:
    """Generations 1 to `last`, each of another text than before."""
    for number in range(1, last + 1):
        assert place.run([{"id": "one", "text": f"Text {number}."}], **settings).generation == number


@pytest.fixture
def place(tmp_path: Path, stand_in: StandIn) -> Place:
    return Place(tmp_path)


@pytest.fixture
def two(tmp_path: Path, place: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Three generations each of `things` and `other`, of which one is configured to keep two."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PARECIDO_STORE", raising=False)
    publish(place, 3)
    other = Place(tmp_path, "other")
    publish(other, 3)
    settings = f'store = "store"\n[collections.{NAME}]\nsource = "x.jsonl"\nkeep_generations = 2\nkeep_days = 0\n'
    (tmp_path / "parecido.toml").write_text(settings, encoding="utf-8")
    return other


def parecido(*arguments: str, code: int = 0) -> Result:
    """The command in this process."""
    result = CliRunner().invoke(main, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == code, result.output
    return result


def test_the_command_prunes_all_collections_by_their_settings(place: Place, two: Place) -> None:
    said = parecido("prune").stdout
    assert "things: 1 generation removed, 1 segment," in said
    assert "generation 1: it is older than 0 days and not one of the last 2" in said
    assert "other: all 3 generations are kept" in said
    assert (place.numbers, two.numbers) == ([2, 3], [1, 2, 3])


def test_the_options_of_the_command_come_before_the_settings(place: Place, two: Place) -> None:
    parecido("prune", "--keep", "1")
    assert (place.numbers, two.numbers) == ([3], [1, 2, 3])
    parecido("prune", "--keep", "1", "--days", "0")
    assert (place.numbers, two.numbers) == ([3], [3])


def test_a_dry_run_says_the_same_and_removes_nothing(place: Place, two: Place) -> None:
    before = sorted(path for path in place.store.rglob("*") if "lease" not in path.name)
    said = parecido("prune", "--dry-run", "--days", "0", "--keep", "1").stdout
    assert "things: 2 generations would be removed, 1 kept" in said
    assert "other: 2 generations would be removed, 1 kept" in said
    told = [json.loads(line) for line in parecido("prune", "--dry-run", "--json", "--days=0").stdout.splitlines()]
    assert [(one["collection"], one["dry_run"]) for one in told] == [("other", True), (NAME, True)]
    assert sorted(path for path in place.store.rglob("*") if "lease" not in path.name) == before
    (done,) = map(json.loads, parecido("prune", NAME, "--json").stdout.splitlines())
    assert [one["keep"] for one in done["pruned"]["generations"]] == [False, True, True]
    assert (done["pruned"]["segments"], place.numbers, two.numbers) == (1, [2, 3], [1, 2, 3])


def test_an_unknown_name_is_refused_and_nothing_is_pruned(place: Place, two: Place) -> None:
    said = parecido("prune", NAME, "nothing", "--days", "0", "--keep", "1", code=2).stderr
    assert "There is no collection 'nothing'" in said
    assert "there is other, things" in said
    assert (place.numbers, two.numbers) == ([1, 2, 3], [1, 2, 3])
    parecido("prune", "--keep", "0", code=2)


@pytest.mark.parametrize("days", [float("inf"), float("nan"), 1e300, -1.0])
def test_a_number_of_days_that_no_calendar_has_is_refused_before_anything_is_published(
    place: Place, tmp_path: Path, days: float
) -> None:
    with pytest.raises(ValueError, match="keep_days"):
        settings_for(place.source, keep_days=days)
    settings_for(place.source, keep_days=timedelta.max.days)
    publish(place, 2, keep_days=timedelta.max.days)
    assert place.numbers == [1, 2]
    said = parecido("prune", "--store", str(place.store), f"--days={days}", code=2)
    assert "--days" in said.stderr
    assert place.numbers == [1, 2]


def test_a_collection_that_is_being_indexed_does_not_keep_the_others_from_being_pruned(
    place: Place, two: Place
) -> None:
    with storage.lock(collection_folder(place.store, "other")):
        said = parecido("prune", "--json", "--days", "0", "--keep", "1", code=5)
    first, second = map(json.loads, said.stdout.splitlines())
    assert (first["collection"], first["error"]["code"]) == ("other", "locked")
    assert "other: Collection 'other' is being indexed by process" in said.stderr
    assert second["collection"] == NAME
    assert (place.numbers, two.numbers) == ([3], [1, 2, 3])
