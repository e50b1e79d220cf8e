"""What do people and programs see of batches: exit codes, reports, `status`, and `parecido batches`?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from openai_server import KEY, OpenAIServer
from posted import MODEL, TO_THE_END, rows, texts
from support import NAME, write_rows

from indexer import batches
from indexer.cli import main
from indexer.cli.group import PENDING, REJECTS, USAGE


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer(pace="told") as server:
        yield server


class Shell:
    """Commands over a store whose one collection is embedded in batches."""

    def __init__(self, folder: Path, server: OpenAIServer) -> None:
        self.source, self.config = folder / "rows.jsonl", folder / "parecido.toml"
        self.environment = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": server.url}
        self.configure('mode = "batch"')

    def configure(self, more: str, model: str = MODEL) -> None:
        self.config.write_text(
            f'store = "store"\n[collections.{NAME}]\nsource = "{self.source.name}"\nmodel = "{model}"\n{more}\n'
            f'[models."{MODEL}"]\ndimension = 16\nprice_per_million = 1000\n'
        )

    def __call__(self, *arguments: str, code: int = 0) -> str:
        result = CliRunner(env=self.environment).invoke(main, [*arguments, "--config", str(self.config)])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert result.exit_code == code, result.output
        return result.output

    def printed(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self(*arguments, "--json", code=code).splitlines()[-1])


@pytest.fixture
def shell(tmp_path: Path, server: OpenAIServer) -> Shell:
    shell = Shell(tmp_path, server)
    write_rows(shell.source, rows(4))
    return shell


def test_a_run_whose_texts_are_with_the_api_has_an_exit_code_of_its_own(shell: Shell, server: OpenAIServer) -> None:
    said = shell("index", code=PENDING)
    assert "nothing is published yet (4 texts are with the Batch API; a later run picks them up)" in said
    assert "4 items new or changed will be published when their texts are back" in said
    report = shell.printed("index", code=PENDING)
    assert (report["published"], report["generation"], report["pending"]) == (False, None, 4)
    server.advance(TO_THE_END)
    assert "generation 1 published" in shell("index")
    assert server.ledger.paid == texts(rows(4))


def test_rejected_rows_are_told_when_the_rest_is_published(shell: Shell, server: OpenAIServer) -> None:
    write_rows(shell.source, [*rows(4), {"id": "blank", "text": ""}])
    shell("index", code=PENDING)
    server.advance(TO_THE_END)
    said = shell("index", code=REJECTS)
    assert "generation 1 published" in said
    assert "1 rows rejected" in said


def test_status_tells_what_is_under_way(shell: Shell, server: OpenAIServer) -> None:
    shell("index", code=PENDING)
    server.advance(2)
    shell("index", code=PENDING)
    said = shell("status")
    assert "4 texts with the Batch API, 2 done, in 1 batch" in said
    assert "a later run picks them up" in said
    (told,) = shell.printed("status")["collections"]
    assert told["pending"] == {"batches": 1, "texts": 4, "done": 2}
    server.advance(TO_THE_END)
    shell("index")
    assert shell.printed("status")["collections"][0]["pending"] is None


def test_what_is_under_way_is_not_estimated_to_be_paid_again(shell: Shell) -> None:
    assert shell.printed("estimate")["to_embed"] == 4
    shell("index", code=PENDING)
    write_rows(shell.source, rows(6))
    assert shell.printed("estimate")["to_embed"] == 2


def test_batches_are_listed_with_what_they_came_to(shell: Shell, server: OpenAIServer) -> None:
    assert shell("batches") == "Nothing was sent to the Batch API.\n"
    shell("index", code=PENDING)
    (batch,) = shell.printed("batches")
    assert (batch["collection"], batch["model"], batch["texts"], batch["stage"]) == (NAME, MODEL, 4, "under way")
    assert batch["batch_id"] in server.api.batches.statuses()
    assert "under" not in shell("batches", "other")
    server.advance(TO_THE_END)
    shell("index")
    (batch,) = shell.printed("batches", NAME)
    assert batch["dollars"] == pytest.approx(server.ledger.tokens_paid * 0.0005)
    assert "picked up" in shell("batches")


def test_a_batch_is_cancelled_and_what_it_had_done_is_kept(shell: Shell, server: OpenAIServer) -> None:
    shell("index", code=PENDING)
    server.advance(2)
    (batch,) = shell.printed("batches")
    assert "is being cancelled" in shell("batches", "--cancel", batch["batch_id"], code=PENDING)
    server.advance()
    shell.configure('mode = "normal"')
    assert shell.printed("index")["passages"]["embedded"] == 2
    assert server.ledger.paid == texts(rows(4))
    (batch,) = shell.printed("batches")
    assert (batch["stage"], batch["status"]) == ("over", "cancelled")


def test_a_batch_that_is_not_under_way_cannot_be_cancelled(shell: Shell) -> None:
    assert "`parecido batches` lists them" in shell("batches", "--cancel", "none", code=USAGE)


def test_a_batch_that_the_server_does_not_know_can_be_given_up(shell: Shell, server: OpenAIServer) -> None:
    shell("index", code=PENDING)
    server.api.batches._batches.clear()
    (batch,) = shell.printed("batches")
    assert "is cancelled" in shell("batches", "--cancel", batch["id"])
    shell("index", code=PENDING)
    server.advance(TO_THE_END)
    shell("index")
    assert server.ledger.paid == texts(rows(4))


def test_waiting_stays_until_it_is_published(
    shell: Shell, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "POLL_SECONDS", 0.01)
    server.set(pace="retrieval")
    assert "generation 1 published" in shell("index", "--wait")


def test_a_model_of_this_machine_with_batches_is_a_mistake_of_the_configuration(shell: Shell) -> None:
    shell.configure('mode = "batch"', model="all-MiniLM-L6-v2")
    assert "mode" in shell("index", code=USAGE)
