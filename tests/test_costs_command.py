"""Can a person, and a program, see what was paid?"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from service_support import Run

from indexer.ledger import Entry, ledger

pytest_plugins = ["service_fixtures"]

SMALL, OWN = "openai:text-embedding-3-small", "openai:own"
ENTRY = Entry("notes", SMALL, "normal", "run 1", 2, 2000, 1_000_000, 20_000_000, day=date(2026, 11, 24))


@pytest.fixture
def paid(here: Path) -> None:
    with ledger(here / "parecido-data") as book:
        book.record(ENTRY)
        book.record(replace(ENTRY, day=date(2026, 12, 1), mode="batch", nano_dollars=10_000_000))
        book.record(replace(ENTRY, collection="other", model=OWN, nano_dollars=None, tokens=5, estimated=True))


def test_a_store_that_has_paid_nothing_says_so_and_gets_no_file(run: Run, here: Path) -> None:
    assert run("costs").stdout == "Nothing was paid yet.\n"
    assert json.loads(run("costs", "--json").stdout)["lines"] == []
    assert not (here / "parecido-data").exists()


@pytest.mark.usefixtures("paid")
def test_what_was_paid_is_shown_by_day_model_and_collection_with_its_total(run: Run) -> None:
    assert run("costs").stdout == (
        "day         model                          collection  requests  texts"
        "                      tokens               cost\n"
        "2026-11-24  openai:own                     other              2  2,000"
        "                 5 estimated            unknown\n"
        "2026-11-24  openai:text-embedding-3-small  notes              2  2,000"
        "                   1,000,000              $0.02\n"
        "2026-12-01  openai:text-embedding-3-small  notes              2  2,000"
        "                   1,000,000              $0.01\n"
        "total                                                         6  6,000"
        "  2,000,005 partly estimated  $0.03 and unknown\n"
    )


@pytest.mark.usefixtures("paid")
def test_it_is_told_apart_by_what_is_asked_for_between_two_days(run: Run) -> None:
    shown = json.loads(run("costs", "--by", "month", "--by", "mode", "--by", "month", "--json").stdout)
    assert shown["by"] == ["month", "mode"]
    assert [(one["month"], one["mode"], one["nano_dollars"], one["unpriced_tokens"]) for one in shown["lines"]] == [
        ("2026-11", "normal", 20_000_000, 5),
        ("2026-12", "batch", 10_000_000, 0),
    ]
    assert shown["total"] == {
        "requests": 6, "texts": 6000, "tokens": 2_000_005, "nano_dollars": 30_000_000,
        "unpriced_tokens": 5, "estimated_tokens": 5,
    }  # fmt: skip
    shown = json.loads(run("costs", "--by", "model", "--since", "2026-11-25", "--json").stdout)
    assert [(one["model"], one["requests"], one["nano_dollars"]) for one in shown["lines"]] == [(SMALL, 2, 10_000_000)]
    days = [one["day"] for one in json.loads(run("costs", "--until", "2026-11-24", "--json").stdout)["lines"]]
    assert days == ["2026-11-24"] * 2
    assert run("costs", "--since", "2027-01-01").stdout == "Nothing was paid in that time.\n"


@pytest.mark.usefixtures("paid")
def test_an_unknown_price_is_no_number_for_a_program_either(run: Run) -> None:
    lines = json.loads(run("costs", "--by", "collection", "--json").stdout)["lines"]
    assert [(one["collection"], one["nano_dollars"]) for one in lines] == [("notes", 30_000_000), ("other", None)]


@pytest.mark.usefixtures("paid")
def test_what_cannot_be_asked_is_said(run: Run, here: Path) -> None:
    assert "exchange them" in run("costs", "--since", "2026-12-02", "--until", "2026-12-01", code=2).stderr
    assert "2026-13-01" in run("costs", "--since", "2026-13-01", code=2).stderr
    assert "--by" in run("costs", "--by", "name", code=2).stderr
    (here / "parecido-data" / "costs.sqlite").write_text("mine " * 1000)
    assert "Cannot use the ledger of costs" in run("costs", code=1).stderr
