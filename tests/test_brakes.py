"""Does a run stop where its source went wrong, and leave everything as it was?

A source can be readable to its end and still be wrong. Whatever happens to it, nothing is published and nothing goes
that nobody has let go.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from support import NAME, Place, StandIn, assert_whole, contents, write_rows

from indexer.errors import BrakeRefused, SourceError
from service.cli import main

ROWS = [{"id": f"item {i}", "text": f"This is text {i}.", "n": i} for i in range(10)]


@pytest.fixture
def place(tmp_path: Path, stand_in: StandIn) -> Place:
    return Place(tmp_path)


@pytest.mark.parametrize("left", [0, 5, 7])
@pytest.mark.parametrize("rebuild", [False, True], ids=["run", "rebuild"])
def test_a_source_that_lost_too_much_publishes_nothing_and_names_what_would_go(
    place: Place, stand_in: StandIn, left: int, rebuild: bool
) -> None:
    place.run(ROWS, max_shrink=0.2)
    asked = len(stand_in.asked)
    write_rows(place.source, ROWS[:left])
    with pytest.raises(BrakeRefused) as refused:
        place.run(rebuild=rebuild, max_shrink=0.2)
    assert len(stand_in.asked) == asked
    said = refused.value.message
    gone = [row["id"] for row in ROWS[left:]]
    assert f"would remove {len(gone)} of 10 items" in said
    assert sum(repr(id) in said for id in gone) == min(len(gone), 5)
    assert "--allow-shrink" in said
    assert repr(str(vanishing(place))) in said
    assert sorted(listed(place)) == gone
    assert_as_before(place, stand_in)


def test_two_of_ten_may_go_by_default_and_three_may_not(place: Place, stand_in: StandIn) -> None:
    place.run(ROWS, max_shrink=0.2)
    with pytest.raises(BrakeRefused):
        place.run(ROWS[3:], max_shrink=0.2)
    report = place.run(ROWS[2:], max_shrink=0.2)
    assert (report.published, report.items.deleted) == (True, 2)
    assert not vanishing(place).exists()
    assert_whole(place.store, ROWS[2:], stand_in)


def test_changed_items_do_not_count_as_gone(place: Place, stand_in: StandIn) -> None:
    place.run(ROWS, max_shrink=0)
    changed = [{**row, "text": f"Another text {row['n']}."} for row in ROWS]
    assert place.run(changed, max_shrink=0).items.changed == 10
    assert_whole(place.store, changed, stand_in)


def test_the_list_of_what_would_vanish_goes_with_the_next_good_run_and_no_sooner(place: Place) -> None:
    place.run(ROWS, max_shrink=0.2)
    with pytest.raises(BrakeRefused):
        place.run(ROWS[:4], max_shrink=0.2)
    place.source.rename(place.source.with_suffix(".away"))
    with pytest.raises(SourceError, match=place.source.name):
        place.run(max_shrink=0.2)
    assert len(listed(place)) == 6
    assert place.run(ROWS, max_shrink=0.2).published is False
    assert not vanishing(place).exists()
    assert list((place.store / "collections" / NAME / "runs").iterdir()) == []


def test_items_that_are_held_do_not_count_and_once_let_go_they_do(place: Place, stand_in: StandIn) -> None:
    place.run(ROWS)
    write_rows(place.source, ROWS[:3])
    place.append("not JSON")
    report = place.run(max_shrink=0.2)
    assert (report.items.held, report.items.deleted, report.published) == (7, 0, False)
    assert_whole(place.store, ROWS, stand_in)
    with pytest.raises(BrakeRefused, match="would remove 7 of 10"):
        place.run(max_shrink=0.2, allow_unread_deletions=True)
    assert_as_before(place, stand_in)


def test_rejected_rows_with_known_ids_keep_their_items_from_going(place: Place) -> None:
    place.run(ROWS)
    broken = [*ROWS[:5], *({**row, "text": ""} for row in ROWS[5:])]
    report = place.run(broken, max_shrink=0, max_rejects=0.5)
    assert (report.items.rejected, report.items.deleted) == (5, 0)
    assert len(contents(place.store)) == 10


def test_too_many_rejects_stop_the_first_run_and_later_ones(place: Place, stand_in: StandIn) -> None:
    write_rows(place.source, [*ROWS[:1], {"id": "x"}, {"id": "y"}])
    with pytest.raises(BrakeRefused, match="2 of the source's 3 rows were rejected") as refused:
        place.run(max_rejects=0.5)
    assert "rejects.jsonl" in refused.value.message
    assert [row["id"] for row in place.rejects()] == ["x", "y"]
    assert place.numbers == []
    assert stand_in.asked == []
    assert place.run(ROWS, max_rejects=0.5).published
    renamed = [{"id": row["id"], "body": row["text"]} for row in ROWS]
    with pytest.raises(BrakeRefused, match="10 of the source's 10"):
        place.run(renamed, max_rejects=0.5)
    assert len(place.rejects()) == 10
    assert_as_before(place, stand_in)


def test_half_bad_rows_pass_and_none_where_none_are_allowed(place: Place) -> None:
    rows: list[dict[str, Any]] = [*ROWS[:2], {"id": "x"}, {"id": "y"}]
    assert place.run(rows, max_rejects=0.5).items.rejected == 2
    with pytest.raises(BrakeRefused, match="max_rejects is 0%"):
        place.run([*ROWS, {"id": "x"}], max_rejects=0)


def test_rows_whose_id_comes_twice_are_bad_rows_too(place: Place) -> None:
    with pytest.raises(BrakeRefused, match="9 of the source's 10"):
        place.run([{**row, "id": "one"} for row in ROWS], max_rejects=0.5)


@pytest.fixture
def folder(place: Place, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two source files and their settings in the current folder; the collection holds them."""
    here = place.store.parent
    monkeypatch.chdir(here)
    monkeypatch.delenv("PARECIDO_STORE", raising=False)
    write_rows(here / "part-1.jsonl", ROWS[:5])
    write_rows(here / "part-2.jsonl", ROWS[5:])
    configure(here, 'source = "part-*.jsonl*"')
    said = parecido("index")
    assert "10 added" in said.stdout
    return here


def configure(here: Path, *lines: str) -> None:
    settings = "\n".join(['store = "store"', f"[collections.{NAME}]", *lines])
    (here / "parecido.toml").write_text(settings, encoding="utf-8")


def parecido(*arguments: str, code: int = 0) -> Result:
    """The command in this process."""
    result = CliRunner().invoke(main, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == code, result.output
    return result


def empty(part: Path) -> None:
    for each in part.parent.glob("part-*"):
        each.write_bytes(b"")


def halve(part: Path) -> None:
    part.write_bytes(b"")


def remove(part: Path) -> None:
    part.unlink()


def dangle(part: Path) -> None:
    part.unlink()
    part.symlink_to("gone.jsonl")


def cut(part: Path) -> None:
    packed = gzip.compress(part.read_bytes())
    part.unlink()
    part.with_name("part-2.jsonl.gz").write_bytes(packed[:-5])


def cut_to_a_header(part: Path) -> None:
    packed = gzip.compress(part.read_bytes())
    part.unlink()
    part.with_name("part-2.jsonl.gz").write_bytes(packed[:10])


def no_files(part: Path) -> None:
    for each in part.parent.glob("part-*"):
        each.unlink()


def cut_to_nothing(part: Path) -> None:
    part.unlink()
    part.with_name("part-2.jsonl.gz").write_bytes(b"")


def a_folder(part: Path) -> None:
    part.unlink()
    part.mkdir()


@pytest.mark.parametrize(
    ("harm", "code"),
    [
        (empty, 6),
        (halve, 6),
        (remove, 6),
        (dangle, 4),
        (cut, 4),
        (cut_to_a_header, 4),
        (no_files, 4),
        (cut_to_nothing, 4),
        (a_folder, 6),
    ],
)
def test_a_harmed_source_never_empties_a_collection(
    folder: Path, place: Place, stand_in: StandIn, harm: Callable[[Path], None], code: int
) -> None:
    harm(folder / "part-2.jsonl")
    told = json.loads(parecido("index", "--json", code=code).stdout)
    assert told["error"]["code"] == {4: "source_error", 6: "brake"}[code]
    assert_as_before(place, stand_in)
    if code == 4:  # what cannot be read to its end is not let go by any option
        parecido("index", "--allow-shrink", code=4)
        parecido("index", "--allow-shrink", "--rebuild", code=4)
        assert_as_before(place, stand_in)


def test_allow_shrink_lets_it_through_once(folder: Path, place: Place, stand_in: StandIn) -> None:
    halve(folder / "part-2.jsonl")
    assert "would remove 5 of 10 items" in parecido("index", code=6).stderr
    assert "5 deleted" in parecido("index", "--allow-shrink").stdout
    assert not vanishing(place).exists()
    assert_whole(place.store, ROWS[:5], stand_in)
    write_rows(folder / "part-1.jsonl", ROWS[:2])
    assert "would remove 3 of 5 items" in parecido("index", code=6).stderr
    assert_whole(place.store, ROWS[:5], stand_in)
    parecido("index", "--allow-shrink", "--rebuild")
    assert_whole(place.store, ROWS[:2], stand_in)
    write_rows(folder / "part-1.jsonl", [])
    parecido("index", code=6)
    parecido("index", "--allow-shrink")
    assert contents(place.store) == {}
    write_rows(folder / "part-1.jsonl", ROWS)
    parecido("index")
    assert_whole(place.store, ROWS, stand_in)


def test_each_collection_has_limits_of_its_own_and_an_option_comes_before_them(
    folder: Path, place: Place, stand_in: StandIn
) -> None:
    halve(folder / "part-2.jsonl")
    configure(folder, 'source = "part-*.jsonl"', "max_shrink = 0.5", "[collections.other]", 'source = "part-1.jsonl"')
    parecido("index", NAME, "--max-shrink", "0.49", code=6)
    assert "5 deleted" in parecido("index").stdout
    write_rows(folder / "part-1.jsonl", [*ROWS[:3], {"id": "item 3"}, {"id": "item 4"}, {"id": "z"}])
    configure(folder, 'source = "part-*.jsonl"', "max_rejects = 0.1", "[collections.other]", 'source = "part-1.jsonl"')
    first, second = map(json.loads, parecido("index", "--json", code=6).stdout.splitlines())
    assert (first["collection"], first["error"]["code"]) == (NAME, "brake")
    assert (second["collection"], second["items"]["rejected"]) == ("other", 3)
    parecido("index", NAME, "--max-rejects", "0.5", code=3)


def vanishing(place: Place) -> Path:
    return place.store / "collections" / NAME / "vanishing.jsonl"


def listed(place: Place) -> list[str]:
    """The ids of the list of what would vanish."""
    return [json.loads(line)["id"] for line in vanishing(place).read_text(encoding="utf-8").splitlines()]


def assert_as_before(place: Place, stand_in: StandIn) -> None:
    """The first generation is current, whole, and holds all rows."""
    assert place.numbers == [1]
    assert_whole(place.store, ROWS, stand_in)
