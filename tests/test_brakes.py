"""Does a run stop before it removes too much, and does it say what would have vanished?"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from support import NAME, Place, StandIn, contents, write_rows

from indexer import last_run
from indexer.brakes import too_much_rejected, too_much_shrinks
from indexer.errors import BrakeRefused, SourceError
from indexer.storage import collection_folder
from service.cli import main

ROWS = [{"id": f"i{n}", "text": f"This is text {n}.", "n": n} for n in range(10)]
BRAKES = {"max_shrink": 0.2, "max_rejects": 0.5}


@pytest.mark.parametrize(
    ("going", "published", "allowed", "share"),
    [
        (0, 0, 0.2, None),
        (0, 10, 0.0, None),
        (1, 10, 0.0, "10.0%, and max_shrink is 0%"),
        (2, 10, 0.2, None),
        (3, 10, 0.2, "30.0%, and max_shrink is 20%"),
        (7, 100, 0.07, None),
        (29, 100, 0.29, None),
        (30, 100, 0.29, "30.0%, and max_shrink is 29%"),
        (6, 1000, 0.005, "0.6%, and max_shrink is 0.5%"),
        (10, 10, 0.99, "100.0%, and max_shrink is 99%"),
        (10, 10, 1.0, None),
    ],
)
def test_a_run_that_removes_more_than_the_brake_allows_stops(
    going: int, published: int, allowed: float, share: str | None
) -> None:
    reason = too_much_shrinks(going, published, allowed, ["a", "b"][:going])
    if share is None:
        assert reason is None
    else:
        some = "'a'" if going == 1 else "'a', 'b', …"
        assert reason == f"the run would remove {going:,} of {published:,} items ({share}): {some}"


@pytest.mark.parametrize(
    ("rejected", "rows", "allowed", "share"),
    [
        (0, 0, 0.0, None),
        (0, 5, 0.0, None),
        (1, 5, 0.0, "20.0%, and max_rejects is 0%"),
        (1, 2, 0.5, None),
        (2, 3, 0.5, "66.7%, and max_rejects is 50%"),
        (29, 100, 0.29, None),
        (5, 5, 0.999, "100.0%, and max_rejects is 99.9%"),
        (5, 5, 1.0, None),
    ],
)
def test_a_run_that_rejects_more_than_the_brake_allows_stops(
    rejected: int, rows: int, allowed: float, share: str | None
) -> None:
    expected = share and f"{rejected} of the source's {rows} rows were rejected ({share})"
    assert too_much_rejected(rejected, rows, allowed) == expected


@pytest.fixture
def place(tmp_path: Path, stand_in: StandIn) -> Place:
    """A collection of ten items."""
    place = Place(tmp_path)
    place.run(ROWS)
    stand_in.asked.clear()
    return place


def vanishing(place: Place) -> list[str] | None:
    """The ids that the last run would have removed, as it wrote them down; None where it did not."""
    path = place.store / "collections" / NAME / "vanishing.jsonl"
    return [json.loads(line)["id"] for line in path.read_text().splitlines()] if path.exists() else None


def refused(place: Place, rows: list[dict[str, Any]], **settings: Any) -> str:
    """Run over these rows, and see that it stops and changes nothing; what it says."""
    before, numbers = contents(place.store), place.numbers
    with pytest.raises(BrakeRefused) as caught:
        place.run(rows, **{**BRAKES, **settings})
    assert (contents(place.store), place.numbers) == (before, numbers)
    return caught.value.message


@pytest.mark.parametrize(
    "rows",
    [[], ROWS[:5], [{**row, "id": f"new {row['id']}"} for row in ROWS]],
    ids=["emptied", "halved", "other ids"],
)
def test_a_source_that_lost_its_items_publishes_nothing_and_names_them(
    place: Place, stand_in: StandIn, rows: list[dict[str, Any]]
) -> None:
    message = refused(place, rows)
    gone = sorted(row["id"] for row in ROWS if row not in rows)
    listed = vanishing(place)
    assert listed is not None
    assert sorted(listed) == gone
    named = ", ".join(repr(id) for id in listed[:5]) + (", …" if len(gone) > 5 else "")
    path = place.store / "collections" / NAME / "vanishing.jsonl"
    assert message == (
        f"Nothing was published: the run would remove {len(gone)} of 10 items ({len(gone) * 10}.0%, and max_shrink is "
        f"20%): {named}: mend the source, or let them go with --allow-shrink. What it would have removed is listed in "
        f"{str(path)!r}."
    )
    assert stand_in.asked == [], "something was paid for"
    assert not list((place.store / "collections" / NAME / "runs").iterdir())


def test_the_list_of_what_would_vanish_goes_with_the_next_good_run_even_one_with_nothing_to_do(place: Place) -> None:
    refused(place, ROWS[:1])
    assert len(vanishing(place) or ()) == 9
    refused(place, ROWS[:7])
    assert sorted(vanishing(place) or ()) == ["i7", "i8", "i9"]
    assert not place.run(ROWS, **BRAKES).published
    assert vanishing(place) is None
    refused(place, ROWS[:7])
    assert place.run(ROWS[:7], max_shrink=1).items.deleted == 3
    assert vanishing(place) is None
    assert len(contents(place.store)) == 7


def test_what_comes_or_changes_is_no_loss_and_as_many_as_allowed_may_go(place: Place) -> None:
    changed = [{**row, "text": f"{row['text']} Changed."} for row in ROWS[2:]]
    report = place.run([*changed, *({"id": f"new {n}", "text": "New."} for n in range(50))], **BRAKES)
    assert (report.items.added, report.items.changed, report.items.deleted) == (50, 8, 2)
    assert vanishing(place) is None


def test_a_rebuild_brakes_too_and_also_one_that_another_setting_asks_for(place: Place) -> None:
    for changes in ({"passages": {"tokens": 8}}, {"store_text": False}):
        assert "the run would remove 9 of 10 items" in refused(place, ROWS[:1], **changes)
    with pytest.raises(BrakeRefused, match="9 of 10"):
        place.run(ROWS[:1], rebuild=True, **BRAKES)
    assert place.run(ROWS[:1], rebuild=True, max_shrink=1).items.deleted == 9


def test_items_that_stay_because_rows_could_not_be_read_are_no_loss(place: Place) -> None:
    write_rows(place.source, ROWS[:3])
    place.append("{")
    report = place.run(max_shrink=0, max_rejects=0.9)
    assert (report.items.deleted, report.items.held, report.published) == (0, 7, False)
    with pytest.raises(BrakeRefused, match="the run would remove 7 of 10 items"):
        place.run(max_shrink=0, max_rejects=0.9, allow_unread_deletions=True)
    assert len(vanishing(place) or ()) == 7


def test_items_whose_rows_were_rejected_are_no_loss(place: Place) -> None:
    report = place.run([*ROWS[:6], *({"id": row["id"], "text": ""} for row in ROWS[6:])], max_shrink=0)
    assert (report.items.deleted, report.items.rejected) == (0, 4)
    assert len(contents(place.store)) == 10


def test_a_source_of_bad_rows_publishes_nothing_and_lists_them(place: Place, stand_in: StandIn) -> None:
    bad = [{"id": row["id"], "body": row["text"]} for row in ROWS[3:]]
    message = refused(place, [{"id": "new", "text": "A new one."}, *ROWS[:3], *bad])
    path = place.store / "collections" / NAME / "rejects.jsonl"
    assert message == (
        "Nothing was published: 7 of the source's 11 rows were rejected (63.6%, and max_rejects is 50%), see "
        f"{str(path)!r}: mend the source, or set max_rejects higher."
    )
    assert [reject["id"] for reject in place.rejects()] == [row["id"] for row in bad]
    assert stand_in.asked == []
    assert place.run(max_rejects=0.7).items.added == 1


def test_the_first_run_brakes_on_bad_rows_and_an_empty_collection_on_nothing_else(
    tmp_path: Path, stand_in: StandIn
) -> None:
    place = Place(tmp_path)
    with pytest.raises(BrakeRefused, match="1 of the source's 1 rows were rejected"):
        place.run([{"id": "blank", "text": ""}], **BRAKES)
    assert place.numbers == []
    assert place.run([], **BRAKES).published
    assert place.run(ROWS, **BRAKES).items.added == 10


def cut_gzip(source: Path) -> None:
    (source / "b.jsonl").rename(source / "b")
    (source / "b.jsonl.gz").write_bytes(gzip.compress((source / "b").read_bytes())[:-9])
    (source / "b").unlink()


def empty_gzip(source: Path) -> None:
    (source / "b.jsonl").unlink()
    (source / "b.jsonl.gz").touch()


def dangling(source: Path) -> None:
    (source / "b.jsonl").unlink()
    (source / "b.jsonl").symlink_to("nowhere")


def unreadable(source: Path) -> None:
    """A file that can be opened and not be read, whoever asks."""
    (source / "b.jsonl").unlink()
    (source / "b.jsonl").symlink_to("/proc/self/mem")


def all_gone(source: Path) -> None:
    for path in source.iterdir():
        path.unlink()


def folder_gone(source: Path) -> None:
    all_gone(source)
    source.rmdir()


@pytest.mark.parametrize("harm", [cut_gzip, empty_gzip, dangling, unreadable, all_gone, folder_gone])
def test_a_source_that_cannot_be_read_to_its_end_never_takes_an_item_away_whatever_the_brakes_allow(
    tmp_path: Path, stand_in: StandIn, harm: Callable[[Path], None]
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name, rows in (("a", ROWS[:3]), ("b", ROWS[3:7]), ("c", ROWS[7:])):
        write_rows(source / f"{name}.jsonl", rows)
    place = Place(tmp_path)
    place.source = source / "*.jsonl*"
    place.run()
    stand_in.asked.clear()
    harm(source)
    with pytest.raises(SourceError):
        place.run(max_shrink=1, max_rejects=1, allow_unread_deletions=True)
    assert (place.numbers, len(contents(place.store)), stand_in.asked) == ([1], 10, [])
    assert vanishing(place) is None
    outcome = last_run.read(collection_folder(place.store, NAME))
    assert outcome is not None
    assert outcome["error"] is not None
    assert outcome["error"]["code"] == "source_error"


CONFIG = """
store = "store"
[collections.careful]
source = "rows.jsonl"
max_shrink = 0.05
max_rejects = 0.1
[collections.plain]
source = "rows.jsonl"
"""


@pytest.fixture
def index(tmp_path: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs `parecido index` over some rows, with parecido.toml beside them, and expects an exit code."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PARECIDO_STORE", raising=False)
    (tmp_path / "parecido.toml").write_text(CONFIG)

    def run(rows: list[dict[str, Any]], *options: str, code: int = 0) -> Result:
        write_rows(tmp_path / "rows.jsonl", rows)
        result = CliRunner().invoke(main, ["index", *options])
        assert result.exit_code == code, result.output
        return result

    return run


def test_each_collection_has_its_own_brakes_and_a_refusal_is_code_6(index: Callable[..., Result]) -> None:
    index(ROWS)
    result = index(ROWS[:9], code=6)
    assert "careful: Nothing was published: the run would remove 1 of 10 items (10.0%, and max_shrink is 5%): 'i9'" in (
        result.stderr
    )
    assert "plain: generation 2 published" in result.stdout
    bad = [*ROWS, {"id": "bad", "text": ""}, {"id": "worse", "text": ""}]
    careful, plain = map(json.loads, index(bad, "--json", code=6).stdout.splitlines())
    assert (careful["collection"], careful["error"]["code"]) == ("careful", "brake")
    assert "2 of the source's 12 rows were rejected (16.7%, and max_rejects is 10%)" in careful["error"]["message"]
    assert (plain["collection"], plain["items"]["rejected"], plain["published"]) == ("plain", 2, True)
    index(bad, "plain", code=3)


@pytest.mark.parametrize("options", [["--allow-shrink"], ["--max-shrink", "1"], ["--max-shrink", "0.9"]])
def test_a_person_lets_them_go_on_the_command_line(index: Callable[..., Result], options: list[str]) -> None:
    index(ROWS)
    index(ROWS[:1], code=6)
    assert "9 deleted" in index(ROWS[:1], "careful", *options).stdout
    index(ROWS[:1], "careful")
    index(ROWS[:1], "plain", code=6)


def test_a_person_sets_the_other_brake_on_the_command_line(index: Callable[..., Result]) -> None:
    bad = [*ROWS, {"id": "bad", "text": ""}, {"id": "worse", "text": ""}]
    index(bad, "careful", code=6)
    index(bad, "careful", "--allow-shrink", code=6)
    index(bad, "careful", "--max-rejects", "0.2", code=3)
    index(bad, "plain", "--max-rejects", "0", code=6)
    assert "is not in the range 0<=x<=1" in index(bad, "--max-rejects", "2", code=2).stderr
