"""Does a run end well over a server that misbehaves in every way, at random?

Five thousand items: every good one is indexed, each text is paid once, what the API refuses is rejected with its words.
"""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from behind_api import CONFIGURATION, SMALL, nearest, providers, variables
from click.testing import CliRunner, Result
from openai_api import POISON_MESSAGE
from openai_mischief import AFTER, ANSWER
from openai_server import OpenAIServer
from support import NAME, assert_tidy, write_rows

from indexer import models
from indexer.ledger import ledger
from indexer.models import openai, openai_failures, openai_packing, openai_stream
from indexer.queries import Query, search
from indexer.snapshot import open_newest
from indexer.storage import collection_folder
from service.cli import main

ITEMS, REPEATED, POISONOUS = 5_000, 400, 12
HELD, TIMEOUT, SLOW = 1.6, 1.2, 0.3
"""Seconds that the server holds back what it holds back, that the client waits for it, and of a slow answer."""
WAITING = ("busy_after", "busy_after_ms", "hold_before", "hold_after")
AT_ONCE = ("busy", "status_500", "status_502", "status_503", "cut_before", "shuffled", "no_usage")
QUERIES = ("something else", "text 17 is about rain")


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer(spoiled_apart=True, poison="poison") as server:
        yield server


@pytest.fixture
def run(tmp_path: Path, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command in this process, more hurried, and more often asking, than it is by itself."""
    monkeypatch.setattr(openai_failures, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(openai_failures, "LONGEST_WAIT", 0.1)
    monkeypatch.setattr(openai_stream, "WRONG_ANSWERS", 20)
    monkeypatch.setattr(openai, "pack", functools.partial(openai_packing.pack, inputs=64))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PARECIDO_STORE", raising=False)
    source = json.dumps(str(tmp_path / "rows.jsonl"))
    config = CONFIGURATION.format(openai=f"timeout_seconds = {TIMEOUT}", name=NAME, source=source)
    (tmp_path / "parecido.toml").write_text(config, encoding="utf-8")

    def run(*arguments: str) -> Result:
        result = CliRunner().invoke(main, [*arguments, "--store", "store"], env=variables(server))
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return run


def rows(hand: random.Random) -> list[dict[str, Any]]:
    """Texts of their own, some that come again, and some that the server refuses."""
    words = ("rain", "bread", "a judge", "a piano", "the river")
    made = [{"id": f"{i}", "text": f"Text {i} is about {hand.choice(words)}."} for i in range(ITEMS - REPEATED)]
    made += [{"id": f"again {i}", "text": hand.choice(made)["text"]} for i in range(REPEATED)]
    for i, row in enumerate(hand.sample(made[: ITEMS - REPEATED], POISONOUS)):
        row |= {"id": f"bad {i}", "text": f"This is poison {i}."}
    hand.shuffle(made)
    return made


def test_five_thousand_items_go_through_every_misbehaviour_and_each_text_is_paid_once(
    tmp_path: Path, server: OpenAIServer, run: Any
) -> None:
    given = rows(random.Random(4))
    write_rows(tmp_path / "rows.jsonl", given)
    server.mix(*ANSWER, *AFTER, *AT_ONCE * 3, *WAITING, share=0.3, seed=5, seconds=HELD)
    server.plan("slow", seconds=SLOW, times=5)
    result = run("index", "--json")
    assert result.exit_code == 3, result.output
    server.mix()

    good = {row["id"]: row["text"] for row in given if "poison" not in row["text"]}
    report = json.loads(result.stdout)
    assert (report["items"]["added"], report["items"]["rejected"]) == (len(good), POISONOUS)
    assert set(server.ledger.paid) == set(good.values())
    assert set(server.ledger.paid.values()) == {1}
    assert max(len(entry.texts) for entry in server.ledger.requests) == 64
    assert {"hold_after", "nan", "busy_after", "slow"} <= set(server.ledger.acts), "the mischief must have been done"
    assert_paid(tmp_path / "store", server, report)
    assert_rejected(tmp_path / "store", given)
    assert_found(tmp_path / "store", server, good)
    assert_tidy(tmp_path / "store")

    asked = len(server.ledger.requests)
    assert run("index").exit_code == 3, "the poison is still in the source"
    assert set(server.ledger.paid.values()) == {1}, "the next run pays for nothing"
    assert all("poison" in text for entry in server.ledger.requests[asked + 1 :] for text in entry.texts)


def assert_paid(store: Path, server: OpenAIServer, report: dict[str, Any]) -> None:
    """What the client takes for paid is what came with success: good answers, and spoiled ones, readable or not."""
    came = {*ANSWER, "garbage", "html"}
    told = [entry for entry in server.ledger.entries if entry.paid and (not entry.spoiled or entry.act in came)]
    with ledger(store) as paid:
        total = paid.total()
    tokens = sum(entry.tokens for entry in told)
    assert (total.tokens, total.nano_dollars) == (tokens, tokens * 20)
    assert report["paid"]["tokens"] == tokens


def assert_rejected(store: Path, given: list[dict[str, Any]]) -> None:
    """Every poison item is on the list, with the API's words."""
    lines = (store / "collections" / NAME / "rejects.jsonl").read_text(encoding="utf-8").splitlines()
    listed = {each["id"]: each["reason"] for each in map(json.loads, lines)}
    assert listed.keys() == {row["id"] for row in given if "poison" in row["text"]}
    assert all(POISON_MESSAGE.rstrip(".") in reason for reason in listed.values())


def assert_found(store: Path, server: OpenAIServer, good: dict[str, str]) -> None:
    """Searches answer as brute force over the server's vectors does."""
    snapshot = open_newest(collection_folder(store, NAME))
    assert snapshot.generation.fingerprint.name == SMALL
    model = models.load(snapshot.generation.fingerprint, None, providers(server))
    assert snapshot.generation.counts.items == len(good)
    for query in QUERIES:
        hits = search(snapshot, lambda: model, Query(text=query, limit=1000))["hits"]
        assert [(hit["id"], hit["similarity"]) for hit in hits] == nearest(good, query, 1000)
