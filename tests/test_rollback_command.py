"""Is a person, or a program, who rolls back told what was done and what is on hold?"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support import NAME, Place, StandIn, contents, write_rows
from three_generations import A, three_generations

from service.cli import main


@pytest.fixture
def place(tmp_path: Path, stand_in: StandIn) -> Place:
    return three_generations(tmp_path)


@pytest.fixture
def run(place: Place, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs a command on the collection, and expects an exit code."""

    def run(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(main, [*arguments, "--store", str(place.store)])
        assert result.exit_code == code, result.output
        return result

    monkeypatch.chdir(place.store.parent)
    return run


def test_a_person_goes_back_and_on_and_is_told_what_is_held(place: Place, run: Callable[..., Result]) -> None:
    index = ("index", str(place.source), "--collection", NAME, "--max-shrink", "1")
    assert run("rollback", NAME).stdout == (
        "things: generation 4 published with the content of generation 2; on hold until `parecido resume things`\n"
    )
    assert "Collection 'things' is on hold: its generation 4" in run(*index, code=7).stderr
    refused = json.loads(run(*index, "--json", code=7).stdout)
    assert (refused["collection"], refused["error"]["code"]) == (NAME, "on_hold")
    said = run("status", code=1).stdout.splitlines()
    assert said[0].startswith("things: generation 4, 5 items, ")
    assert said[1] == "  on hold after a rollback to generation 2: `parecido resume things` goes on"
    assert "is on hold" in said[2]
    newest, *older = run("generations", NAME).stdout.splitlines()
    assert newest.startswith("generation 4, 5 items, ")
    assert newest.endswith(" (the content of generation 2, on hold)")
    assert [line.rpartition(" (")[2] for line in older] == ["the source changed)"] * 2 + [
        "nothing was published before)"
    ]
    listed = json.loads(run("generations", NAME, "--json").stdout)
    assert [(one["generation"], one["origin"], one["hold"]) for one in listed] == [
        (4, 2, True),
        (3, None, False),
        (2, None, False),
        (1, None, False),
    ]
    assert [one["run"] and one["run"]["generation"] for one in listed] == [None, 3, 2, 1]

    assert run("resume", NAME).stdout == "things: generation 5 published, hold lifted\n"
    assert run("resume", NAME).stdout == "things: not on hold\n"
    assert run("generations", NAME).stdout.splitlines()[0].endswith(" (the content of generation 2)")
    write_rows(place.source, A)
    assert "things: generation 6 published (the source changed)" in run(*index).stdout
    assert run("status").stdout.splitlines()[1].startswith("  last run ")
    assert set(contents(place.store)) == {row["id"] for row in A}


def test_a_program_is_told_the_same(place: Place, run: Callable[..., Result]) -> None:
    done = json.loads(run("rollback", NAME, "1", "--json").stdout)
    assert (done["name"], done["generation"], done["origin"], done["hold"]) == (NAME, 4, 1, True)
    (one,) = json.loads(run("status", "--json").stdout)["collections"]
    assert (one["current"]["origin"], one["current"]["hold"]) == (1, True)
    done = {"collection": NAME, "resumed": True, "generation": 5}
    assert json.loads(run("resume", NAME, "--json").stdout) == done
    assert json.loads(run("resume", NAME, "--json").stdout) == {**done, "resumed": False, "generation": None}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("rollback", NAME, "9"), 2, "'things' has no generation 9: it has 1, 2, 3."),
        (("rollback", NAME, "0"), 2, "0 is not in the range x>=1"),
        (("rollback", "nobody"), 2, "'nobody' has no published generation"),
        (("rollback", "../up"), 2, "cannot name a collection"),
        (("rollback",), 2, "Missing argument"),
        (("resume", "nobody"), 2, "'nobody' has no published generation"),
    ],
)
def test_a_mistake_is_told_in_a_sentence(
    run: Callable[..., Result], arguments: tuple[str, ...], code: int, message: str
) -> None:
    assert message in run(*arguments, code=code).stderr
