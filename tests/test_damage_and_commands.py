"""What do the commands do where a generation is damaged?

They say so, answer from the newest good one, and build on that; where there is none they say what to do.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from damage import KINDS, NEW, OLD, SEEN_AT_ONCE, Damaging, content_of, flipped, own_file, replaced
from damage import folder as in_the_way
from support import NAME, Place, StandIn, assert_whole, write_rows

from indexer.storage import CollectionFolder
from service.cli import main

pytest_plugins = ["damage_fixtures"]


WAY_OUT = (
    "`parecido repair things` mends what can be mended, "
    "`parecido index things --rebuild` builds it anew from its source"
)


def run(place: Place, *arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, [*arguments, "--store", str(place.store)])
    assert result.exit_code == code, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    return result


def index(place: Place, *arguments: str, code: int = 0) -> Result:
    brakes = ("--max-shrink", "1", "--max-rejects", "1", "--device", "cpu")
    return run(place, "index", str(place.source), "--collection", NAME, *brakes, *arguments, code=code)


def told(result: Result) -> Any:
    return json.loads(result.stdout)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("damaging", SEEN_AT_ONCE.values(), ids=SEEN_AT_ONCE)
def test_search_compare_and_status_name_the_damage_and_answer_from_the_newest_good_one(
    place: Place, folder: CollectionFolder, kind: str, damaging: Damaging
) -> None:
    damaging(path := own_file(folder, 2, kind))
    manifest_is_missing = kind == ".json" and not path.exists()
    for command in (("search", NAME, "--id", "5"), ("compare", NAME, "5", "4")):
        result = run(place, *command, "--json")
        assert told(result)["generation"] == 1
        if not manifest_is_missing:  # then there is nothing that search could miss
            assert "generation 2 of 'things' is passed over: " in result.stderr
            assert str(path) in result.stderr
    (answer,) = told(run(place, "status", "--json", code=1))["collections"]
    assert answer["current"]["generation"] == 1
    assert answer["problems"].keys() == {"2"}
    assert str(path) in answer["problems"]["2"]
    assert f"  generation 2 is damaged: {answer['problems']['2']}" in run(place, "status", code=1).stdout


def test_the_list_of_generations_leaves_out_what_it_cannot_read_and_says_so(
    place: Place, folder: CollectionFolder
) -> None:
    flipped(newest := own_file(folder, 2, ".json"))
    result = run(place, "generations", NAME, "--json")
    assert [one["generation"] for one in told(result)] == [1]
    assert "generation 2 is not shown: " in result.stderr
    assert str(newest) in result.stderr
    flipped(folder.generations / "000001.json")
    assert "000001.json" in run(place, "generations", NAME, code=1).stderr


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_builds_on_the_newest_good_generation(
    place: Place, folder: CollectionFolder, stand_in: StandIn, kind: str
) -> None:
    SEEN_AT_ONCE["cut"](path := own_file(folder, 2, kind))
    dry = index(place, "--dry-run")
    assert "generation 2 is passed over: " in dry.stderr
    result = index(place, "--json")
    assert str(path) in result.stderr
    report = told(result)
    assert (report["generation"], report["published"]) == (3, True)
    assert (report["items"]["added"], report["items"]["changed"], report["items"]["deleted"]) == (1, 1, 1)
    assert_whole(place.store, NEW, stand_in)
    assert run(place, "search", NAME, "--id", "new").stderr == ""
    assert run(place, "status").exit_code == 0


def test_a_run_with_nothing_new_publishes_the_good_content_over_the_damaged(
    place: Place, folder: CollectionFolder, stand_in: StandIn
) -> None:
    write_rows(place.source, OLD)
    SEEN_AT_ONCE["missing"](own_file(folder, 2, "ann.faiss"))
    report = told(index(place, "--json"))
    assert (report["generation"], report["reason"]) == (3, "generation 2 is damaged")
    assert_whole(place.store, OLD, stand_in)


@pytest.mark.parametrize("kind", [".json", "items.arrow", "vectors.f32"])
def test_where_no_generation_is_good_every_command_says_what_to_do_and_a_rebuild_gets_past_it(
    place: Place, folder: CollectionFolder, stand_in: StandIn, kind: str
) -> None:
    for number in (2, 1):
        SEEN_AT_ONCE["cut"](own_file(folder, number, kind))
    damaged = str(own_file(folder, 1, kind)) if kind != ".json" else str(folder.generations / "000002.json")
    said = run(place, "search", NAME, "--id", "1", code=1).stderr
    assert damaged in said
    assert f"No generation of 'things' can be opened: {WAY_OUT}." in said
    before = content_of(place.store / "collections" / NAME / "segments")
    error = told(index(place, "--json", code=1))["error"]
    assert damaged in error["message"]
    assert WAY_OUT in error["message"]
    (answer,) = told(run(place, "status", "--json", code=1))["collections"]
    assert (answer["current"], answer["problems"].keys()) == (None, {"1", "2"})
    assert "things: nothing that can be served\n" in run(place, "status", code=1).stdout
    assert content_of(place.store / "collections" / NAME / "segments") == before
    report = told(index(place, "--rebuild", "--json"))
    assert (report["generation"], report["items"]["added"]) == (3, len(NEW))
    assert report["reason"] == "what was published before is damaged"
    assert_whole(place.store, NEW, stand_in)
    assert before.items() <= content_of(place.store / "collections" / NAME / "segments").items()


@pytest.mark.parametrize("name", ["items.arrow", "passages.arrow", "vectors.f32"])
def test_damage_is_not_copied_into_a_segment_that_is_folded(
    place: Place, folder: CollectionFolder, stand_in: StandIn, name: str
) -> None:
    flipped(path := own_file(folder, 1, name))
    write_rows(place.source, [*NEW, {"id": "late", "text": "One more, so that small segments are folded."}])
    before = content_of(folder.path)
    error = told(index(place, "--json", code=1))["error"]
    assert (error["code"], str(path) in error["message"]) == ("corrupt_generation", True)
    assert WAY_OUT in error["message"]
    after = content_of(folder.path)
    assert {p for p in before if p not in after or before[p] != after[p]} <= {"lock", "last-run.json"}
    assert error["message"] in run(place, "status", code=1).stdout
    assert index(place, "--rebuild").exit_code == 0
    assert run(place, "search", NAME, "--id", "late", "--json").exit_code == 0


def test_a_text_that_cannot_be_read_is_an_error_that_names_its_file(place: Place, folder: CollectionFolder) -> None:
    path = own_file(folder, 2, "items.arrow")
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data.replace(b"A text that", b"A \xff\xff\xff\xff that"))
    assert str(path) in run(place, "search", NAME, "--id", "0", "--include", "text", code=1).stderr


@pytest.mark.parametrize("name", ["last-run.json", "generations"])
def test_status_names_what_it_cannot_read_and_shows_the_other_collections(
    place: Place, folder: CollectionFolder, name: str, tmp_path: Path
) -> None:
    other = Place(tmp_path, "other")
    other.run(OLD)
    path = folder.path / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    for content in (b"", b"{}", b"[]", b"\xff", None):
        path.unlink(missing_ok=True)
        path.mkdir() if content is None else path.write_bytes(content)
        if name == "generations" and content is None:
            break
        result = run(place, "status", "--json", code=0 if name == "last-run.json" else 1)
        shown, things = told(result)["collections"]
        assert (shown["name"], shown["problems"]) == ("other", {})
        assert str(path) in (result.stderr if name == "last-run.json" else things["problems"]["*"])
        assert (things["last_run"] is None) == (name == "last-run.json")


def test_a_flipped_byte_in_the_note_of_the_last_run_is_noticed(place: Place, folder: CollectionFolder) -> None:
    path = folder.path / "last-run.json"
    whole = path.read_bytes()
    for at in range(0, len(whole), 11):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 2]) + whole[at + 1 :])
        result = run(place, "status", "--json")
        assert told(result)["collections"][0]["last_run"] is None, at
        assert str(path) in result.stderr


def test_what_is_not_ours_among_the_generations_stays(place: Place, folder: CollectionFolder, tmp_path: Path) -> None:
    kept = folder.generations / "000002.json.damaged"
    kept.write_bytes(b"put aside by hand")
    index(place)
    assert run(place, "repair").exit_code == 0
    assert run(place, "prune", "--keep", "1", "--days", "0").exit_code == 0
    assert kept.read_bytes() == b"put aside by hand"
    replaced(place.store, tmp_path / "before")
    in_the_way(own_file(folder, 2, ".json"))
    assert index(place, "--json").exit_code == 0
