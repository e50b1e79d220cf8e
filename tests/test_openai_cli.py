"""Do the commands say what was paid, as the server's ledger has it, and how a run over an API ended?

What `estimate` foresees is what `index` pays, and what `status`, `generations` and `costs` tell; the exit codes are
those of the commands; and the key is in nothing that is written or said.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from behind_api import CONFIGURATION, SMALL, variables
from click.testing import CliRunner, Result
from openai_server import OpenAIServer
from service_support import process
from support import write_rows

from service.cli import main

KEY, WRONG = "sk-our-own-secret-4711", "sk-somebody-elses-0815"
WORDS = f"We do not like poison, {KEY}"
NANO_DOLLARS_A_TOKEN = 20
"""At 0.02 dollars a million."""
ROWS = [{"id": f"{i}", "text": f"{i} loaves of bread and some soup, and then — 東京 — tea."} for i in range(30)]
ROWS_BESIDE = [{"id": f"beside {i}", "text": f"The {i}th of the rows beside."} for i in range(20)]
POISON = {"id": "bad", "text": "This is poison."}


class Commands:
    """Runs commands in this process, in a folder of their own, and keeps all that they say."""

    def __init__(self, folder: Path, server: OpenAIServer) -> None:
        self.folder, self._server = folder, server
        self.said: list[str] = []
        config = CONFIGURATION.format(openai="", name="notes", source='"rows.jsonl"')
        (folder / "parecido.toml").write_text(config, encoding="utf-8")

    def run(self, *arguments: str, code: int = 0, **environment: str) -> Result:
        result = CliRunner().invoke(main, arguments, env={**variables(self._server), **environment})
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert result.exit_code == code, result.output
        self.said += [result.stdout, result.stderr]
        return result

    def told(self, *arguments: str, code: int = 0, **environment: str) -> Any:
        """What a command says to programs."""
        return json.loads(self.run(*arguments, "--json", code=code, **environment).stdout)

    def rows(self, *rows: dict[str, Any]) -> None:
        write_rows(self.folder / "rows.jsonl", rows)

    @property
    def published(self) -> bool:
        return any((self.folder / "parecido-data").rglob("generations/*.json"))

    def assert_nothing_knows(self, *keys: str) -> None:
        """No key is in a file of the folder, nor in anything that was said."""
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        assert len(files) > 5
        for key in keys:
            assert [path for path in files if key.encode() in path.read_bytes()] == []
            assert [text for text in self.said if key in text] == []


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer(key=KEY, poison="poison", poison_message=WORDS) as server:
        yield server


@pytest.fixture
def commands(tmp_path: Path, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch) -> Commands:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PARECIDO_STORE", raising=False)
    return Commands(tmp_path, server)


def test_what_was_foreseen_is_paid_and_told_by_every_command(commands: Commands, server: OpenAIServer) -> None:
    commands.rows(*ROWS)
    foreseen = commands.told("estimate")
    assert server.ledger.requests == [], "an estimate asks for nothing"
    paid = commands.told("index")["paid"]
    tokens = server.ledger.tokens_paid
    assert tokens > 15 * len(ROWS)
    dollars = tokens * NANO_DOLLARS_A_TOKEN / 1e9
    assert (foreseen["to_embed"], foreseen["tokens"], foreseen["tokens_estimated"]) == (len(ROWS), tokens, False)
    assert (foreseen["cost"]["dollars"], foreseen["cost"]["batch_dollars"]) == (dollars, dollars / 2)
    assert paid == {"requests": 1, "tokens": tokens, "dollars": dollars, "estimated": False}
    (collection,) = commands.told("status")["collections"]
    assert collection["last_run"]["report"]["paid"] == paid
    assert collection["current"]["model"]["name"] == SMALL
    (generation,) = commands.told("generations", "notes")
    assert generation["run"]["paid"] == paid
    total = commands.told("costs", "--by", "model", "--by", "collection")
    (line,) = total["lines"]
    assert (line["model"], line["collection"], line["requests"], line["texts"]) == (SMALL, "notes", 1, len(ROWS))
    assert line["tokens"] == total["total"]["tokens"] == tokens
    assert line["nano_dollars"] == tokens * NANO_DOLLARS_A_TOKEN
    again = commands.told("estimate", "--rebuild")
    assert (again["to_embed"], again["tokens"], again["cost"]["dollars"]) == (0, 0, 0.0)
    assert commands.told("index", "--rebuild")["paid"]["tokens"] == 0
    assert commands.told("costs")["total"]["tokens"] == server.ledger.tokens_paid == tokens
    other = commands.told("estimate", "--model", "openai:text-embedding-3-large")
    assert (other["to_embed"], other["tokens"]) == (len(ROWS), tokens)
    assert other["cost"]["dollars"] == pytest.approx(tokens * 130 / 1e9)


def test_without_the_vocabulary_what_is_foreseen_is_estimated_and_what_is_paid_is_not(
    commands: Commands, server: OpenAIServer
) -> None:
    commands.rows(*ROWS)
    without = {"TIKTOKEN_CACHE_DIR": str(commands.folder / "nothing")}
    assert commands.told("estimate", **without)["tokens_estimated"] is True
    assert "(estimated)" in commands.run("estimate", **without).stdout
    paid = commands.told("index", **without)["paid"]
    assert (paid["tokens"], paid["estimated"]) == (server.ledger.tokens_paid, False)
    assert "estimated" not in commands.run("costs", **without).stdout
    commands.rows(*ROWS, {"id": "new", "text": "A text that is new."})
    server.plan("no_usage")
    paid = commands.told("index", **without)["paid"]
    assert (paid["requests"], paid["estimated"]) == (1, True)
    assert commands.told("costs")["total"]["estimated_tokens"] == paid["tokens"] > 0
    assert "partly estimated" in commands.run("costs").stdout


def test_a_run_that_would_be_too_dear_asks_for_nothing_and_says_by_how_much(
    commands: Commands, server: OpenAIServer
) -> None:
    commands.rows(*ROWS)
    dollars = commands.told("estimate")["cost"]["dollars"]
    refused = commands.told("index", "--max-cost", f"{dollars / 2:.12f}", code=6)["error"]
    assert (refused["code"], refused["param"]) == ("brake", "max_cost")
    assert "too much" in refused["message"]
    assert server.ledger.requests == []
    assert not commands.published
    assert commands.told("costs")["total"]["tokens"] == 0
    commands.run("index", "--max-cost", f"{dollars:.12f}")
    assert commands.published


@pytest.mark.parametrize(
    ("key", "setting", "message"),
    [
        (WRONG, {}, "does not take the key"),
        ("", {}, "OPENAI_API_KEY is not set"),
        (KEY, {"empty_account": True}, "has nothing left to pay with"),
    ],
    ids=["a wrong key", "no key", "an empty account"],
)
def test_a_key_that_does_not_open_ends_the_run_at_once(
    commands: Commands, server: OpenAIServer, key: str, setting: dict[str, bool], message: str
) -> None:
    server.set(**setting)
    commands.rows(*ROWS)
    error = commands.told("index", code=1, OPENAI_API_KEY=key)["error"]
    assert error["code"] == "model_unavailable"
    assert message in error["message"]
    assert len(server.ledger.requests) == (1 if key else 0)
    assert not commands.published


def test_a_model_that_the_api_does_not_know_ends_the_run_at_once(commands: Commands, server: OpenAIServer) -> None:
    commands.rows(*ROWS)
    error = commands.told("index", "--model", "openai:text-embedding-9", code=1)["error"]
    assert "text-embedding-9" in error["message"]
    assert "has no model" in error["message"]
    assert len(server.ledger.requests) == 1
    assert not commands.published


def test_a_run_whose_new_texts_are_all_refused_ends_with_rejects_and_pays_for_a_harmless_one(
    commands: Commands, server: OpenAIServer
) -> None:
    bad = [{"id": f"bad {i}", "text": f"This is poison {i}."} for i in range(40)]
    commands.rows(*ROWS, *ROWS_BESIDE, *bad)
    commands.run("index", code=3)
    before = server.ledger.tokens_paid
    report = commands.told("index", code=3)
    assert (report["items"]["unchanged"], report["items"]["rejected"]) == (len(ROWS) + len(ROWS_BESIDE), 40)
    assert report["paid"]["tokens"] == server.ledger.tokens_paid - before == 1
    assert commands.told("costs")["total"]["tokens"] == server.ledger.tokens_paid


def test_a_text_over_which_the_api_always_fails_is_rejected_and_the_others_go_through(
    commands: Commands, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("indexer.models.openai_failures.FIRST_WAIT", 0.01)
    server.set(poison_status=500, poison_message="Something broke.")
    commands.rows(*ROWS, POISON)
    report = commands.told("index", code=3)
    assert (report["items"]["added"], report["items"]["rejected"]) == (len(ROWS), 1)
    (reject,) = map(json.loads, Path(report["rejects_file"]).read_text(encoding="utf-8").splitlines())
    assert (reject["id"], reject["reason"]) == ("bad", "status 500: Something broke.")


def test_what_the_api_refuses_is_rejected_with_its_words_and_no_key_is_in_anything_written_or_said(
    commands: Commands, server: OpenAIServer
) -> None:
    commands.rows(*ROWS, POISON)
    commands.run("index", code=1, OPENAI_API_KEY=WRONG)
    report = commands.told("index", code=3)
    assert (report["items"]["added"], report["items"]["rejected"]) == (len(ROWS), 1)
    (reject,) = map(json.loads, Path(report["rejects_file"]).read_text(encoding="utf-8").splitlines())
    assert (reject["id"], "We do not like poison" in reject["reason"]) == ("bad", True)
    for command in (["status"], ["generations", "notes"], ["costs"], ["search", "notes", "tea"], ["estimate"]):
        commands.run(*command)
        commands.told(*command)
    commands.run("search", "notes", "tea", code=1, OPENAI_API_KEY=WRONG)
    commands.run("search", "notes", "poison", code=2)
    environment = {**variables(server), "OPENAI_LOG": "debug"}
    done = process(commands.folder, "index", "--rebuild", "--verbose", "--log-format", "json", **environment)
    assert done.returncode == 3, done.stderr
    commands.said += [done.stdout, done.stderr]
    commands.assert_nothing_knows(KEY, WRONG)
