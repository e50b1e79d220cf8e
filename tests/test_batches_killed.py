"""Does a run that is killed while it sends or picks up batches lose a text, or pay for one twice?

Real processes, killed with SIGKILL before and after every single thing that they ask of the API, before every
transaction and before every file gets its name; the server goes on meanwhile, and its ledger tells what was paid.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from openai_server import OpenAIProcess
from posted import TO_THE_END, Posted, texts
from support import Runs, StandIn, write_rows

from indexer.batches import sending


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenAIProcess]:
    path = tmp_path_factory.mktemp("server") / "ledger.jsonl"
    with OpenAIProcess(path, "--order", '{"set": {"pace": "told"}}') as server:
        yield server


class Killing:
    """A new store and new texts for each kill."""

    def __init__(self, folder: Path, server: OpenAIProcess, stand_in: StandIn, runs: Runs) -> None:
        self.folder, self.server, self.stand_in, self.runs = folder, server, stand_in, runs
        self.count = 0

    def start(self) -> tuple[Posted, list[dict[str, str]]]:
        """A place with three rows that nobody has seen."""
        self.count += 1
        folder = self.folder / f"{self.count}"
        folder.mkdir()
        place = Posted(folder, self.server, self.stand_in)
        rows = [{"id": f"{i}", "text": f"This is text {i} of {self.folder.name} {self.count}."} for i in range(3)]
        write_rows(place.source, rows)
        return place, rows

    def run(self, place: Posted, kill: int = 0) -> list[str] | None:
        """Run in a process of its own."""
        return self.runs.run_posted(place, kill, self.server.url)

    def end(self, place: Posted, rows: list[dict[str, str]], where: str) -> None:
        """Let the server and a few runs come to the end: all is published, and each text was paid once."""
        for _ in range(3):
            report = place.run()
            if report.published or not report.pending:
                break
            self.server.advance(TO_THE_END)
        assert place.holds(rows), where
        paid = self.server.ledger.paid
        assert {text: count for text, count in paid.items() if text in texts(rows)} == texts(rows), where
        billed = sum(batch.billed or 0 for batch in place.batches)
        assert place.spent.tokens == billed > 0, where
        assert {batch.stage for batch in place.batches} == {"over"}, where
        assert list((place.store / "collections" / place.name / "batches").iterdir()) == [], where


@pytest.fixture
def killing(
    tmp_path: Path, server: OpenAIProcess, stand_in: StandIn, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> Killing:
    monkeypatch.setattr(sending, "UNSURE_SECONDS", 0)
    return Killing(tmp_path, server, stand_in, runs)


def test_a_run_killed_at_any_step_while_it_sends_neither_loses_nor_pays_twice(killing: Killing) -> None:
    place, rows = killing.start()
    steps = killing.run(place)
    assert steps is not None
    assert {"transaction", "replace", "upload", "upload done", "create", "create done"} <= set(steps)
    killing.end(place, rows, "not killed")
    for kill in range(1, len(steps) + 1):
        place, rows = killing.start()
        assert killing.run(place, kill) is None
        killing.end(place, rows, f"killed before step {kill}, {steps[kill - 1]}, of {steps}")


def test_a_run_killed_at_any_step_while_it_picks_up_neither_loses_nor_pays_twice(killing: Killing) -> None:
    place, rows = killing.start()
    killing.run(place)
    killing.server.advance(TO_THE_END)
    steps = killing.run(place)
    assert steps is not None
    assert {"transaction", "get", "download", "download done", "delete", "delete done", "link"} <= set(steps)
    killing.end(place, rows, "not killed")
    for kill in range(1, len(steps) + 1):
        place, rows = killing.start()
        place.run()
        killing.server.advance(TO_THE_END)
        assert killing.run(place, kill) is None
        killing.end(place, rows, f"killed before step {kill}, {steps[kill - 1]}, of {steps}")


def test_runs_that_are_killed_one_after_the_other_come_to_the_same(killing: Killing) -> None:
    place, rows = killing.start()
    kill = 1
    while killing.run(place, kill) is None:
        killing.server.advance()
        kill += 1
    killing.end(place, rows, f"{kill - 1} kills")
