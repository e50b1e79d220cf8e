"""Does the real command keep a schedule, and end in good order when it is asked to, at any moment?"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from service_support import DEADLINE, FEW, PARECIDO, environment, process, until, write_rows

from indexer import storage
from indexer.cli.schedule import PROGRAM, command_line
from indexer.schedule import Schedule, next_run
from service.cli import main

pytest_plugins = ["service_fixtures"]

MANY = [
    {"id": str(n), "text": f"Sentence {n} has {n * 7} words, or so they say in village {n % 97}."} for n in range(8_000)
]
"""More than is embedded before the run is stopped."""


class Command:
    """A real `parecido index` with everything it writes."""

    def __init__(self, here: Path, *arguments: str) -> None:
        self._out, self._store = here / "out", here / "parecido-data"
        with self._out.open("wb") as out:
            self.process = subprocess.Popen(
                [PARECIDO, "index", *arguments], stdout=out, stderr=out, env=environment(), cwd=here
            )

    @property
    def said(self) -> str:
        """What it has written so far."""
        return self._out.read_text(encoding="utf-8")

    @property
    def schedule(self) -> Schedule | None:
        """What others can see of the schedule."""
        return next_run(self._store)

    def until_said(self, text: str) -> None:
        """Return when it has written so."""
        until(lambda: text in self.said or self.process.poll() is not None, text)
        assert text in self.said

    def scratch(self) -> list[Path]:
        """What a run under way has written."""
        return [path for path in storage.collection_folder(self._store, "many").runs.rglob("*") if path.is_file()]

    def end(self, by: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end; its exit code."""
        self.process.send_signal(by)
        code = self.process.wait(DEADLINE)
        assert "Traceback" not in self.said, self.said
        return code


@pytest.fixture
def commands(here: Path) -> Iterator[list[Command]]:
    """Those that must not be left over."""
    started: list[Command] = []
    yield started
    for command in started:
        command.process.kill()
        command.process.wait()


def start(commands: list[Command], here: Path, *arguments: str) -> Command:
    commands.append(Command(here, *arguments))
    return commands[-1]


YEARLY = ("--schedule", "0 3 1 1 *")


def test_what_is_not_published_is_indexed_at_once_and_then_by_the_schedule(here: Path, commands: list[Command]) -> None:
    (here / "parecido.toml").write_text('[collections.few]\nsource = "few.jsonl"\n', encoding="utf-8")
    (here / "service").mkdir()  # not to be taken for the program, though it has the name
    (here / "service" / "__init__.py").write_text("raise SystemExit(99)\n", encoding="utf-8")
    command = start(commands, here, "--log-format", "json", *YEARLY)
    command.until_said("by the schedule")
    found = command.schedule
    assert found is not None
    assert (found.expression, found.pid, found.running) == ("0 3 1 1 *", command.process.pid, False)
    assert (found.next_run_at.astimezone().month, found.next_run_at.astimezone().hour) == (1, 3)
    assert command.end() == 0
    assert not (here / "parecido-data" / "schedule.json").exists()
    told = [line for line in map(json.loads, command.said.splitlines()) if line["event"] != "converting"]
    begun, run, ended, again, over = told
    assert (begun["event"], begun["reason"]) == ("scheduled", "nothing is published yet in few")
    assert (run["event"], run["collection"], run["items"]["added"]) == ("run", "few", len(FEW))
    assert (ended["event"], ended["exit_code"]) == ("scheduled_run_ended", 0)
    assert (again["event"], datetime.fromisoformat(again["at"])) == ("scheduled", found.next_run_at)
    assert over["event"] == "schedule_ended"


def test_a_run_that_is_killed_does_not_end_the_schedule(here: Path, commands: list[Command]) -> None:
    write_rows(here / "many.jsonl", MANY)
    command = start(commands, here, "many.jsonl", "--collection", "many", *YEARLY)
    until(lambda: bool(command.scratch()), "a run under way")
    os.kill(child_of(command.process.pid), signal.SIGKILL)
    command.until_said("by the schedule '0 3 1 1 *'")
    assert "the run was killed by signal 9" in command.said
    assert command.schedule is not None
    assert command.end(signal.SIGINT) == 0


def test_the_end_is_passed_on_to_a_run_under_way_and_waits_for_it(here: Path, commands: list[Command]) -> None:
    write_rows(here / "many.jsonl", MANY)
    command = start(commands, here, "many.jsonl", "--collection", "many", *YEARLY)
    until(lambda: bool(command.scratch()), "a run under way")
    found, child = command.schedule, child_of(command.process.pid)
    assert found is not None
    assert found.running
    assert command.end() == 0
    assert "stopped by SIGTERM: what is published stays as it was" in command.said
    assert command.scratch() == []
    assert command.schedule is None
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


@pytest.mark.parametrize(("by", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=lambda value: str(value))
def test_a_run_that_is_asked_to_end_puts_away_what_it_has_written_and_says_so(
    here: Path, commands: list[Command], by: signal.Signals, code: int
) -> None:
    write_rows(here / "many.jsonl", MANY)
    command = start(commands, here, "many.jsonl", "--collection", "many")
    until(lambda: bool(command.scratch()), "a run under way")
    assert command.end(by) == code
    assert command.said == f"parecido: stopped by {by.name}: what is published stays as it was\n"
    assert command.scratch() == []


def test_a_module_that_is_being_loaded_is_loaded_before_a_run_ends(tmp_path: Path) -> None:
    (tmp_path / "loaded.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nwhole = True\n")
    script = (
        "import time\nfrom indexer.cli.stop import stoppable\n"
        "with stoppable():\n    import loaded\n    print(loaded.whole, flush=True)\n    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (130, "True\n"), done.stderr


MISTAKES = [
    (("--schedule", "0 3 * *"), "'0 3 * *' is not a cron expression"),
    (("--schedule", "0 3 * * *", "--rebuild"), "--rebuild with --schedule would embed everything again"),
    (("--schedule", "0 3 * * *", "--config", "none.toml"), "none.toml"),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES, ids=["expression", "rebuild", "config"])
def test_a_schedule_that_cannot_be_kept_ends_at_once_with_2(
    here: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = process(
        here, "index", *arguments, *(() if "none.toml" in arguments else ("few.jsonl", "--collection", "few"))
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert not (here / "parecido-data").exists()


@pytest.mark.parametrize(
    ("given", "due", "started"),
    [
        (["--schedule", "* * * * *", "a", "b"], ("b",), ["--", "b"]),
        (["--schedule=* * * * *"], ("a", "b"), ["--", "a", "b"]),
        (
            ["--collection", "c", "--schedule", "* * * * *", "--text", "t", "--text", "-u\n{v}", "--", "f 1.csv", "-x"],
            ("c",),
            ["--collection=c", "--text=t", "--text=-u\n{v}", "--", "f 1.csv", "-x"],
        ),
        (
            ["--no-store-text", "--json", "--log-format", "json", "--store", "s t", "--schedule", "* * * * *"],
            ("a",),
            ["--no-store-text", "--log-format=json", "--store=s t", "--json", "--", "a"],
        ),
    ],
    ids=["names", "all", "files", "flags"],
)
def test_a_run_has_the_command_line_of_the_schedule_without_the_schedule(
    given: list[str], due: tuple[str, ...], started: list[str]
) -> None:
    index = main.commands["index"]
    with main.make_context("parecido", ["index"]) as group, index.make_context("index", given, group) as context:
        assert command_line(context, due) == [*PROGRAM, "index", *started]


def child_of(pid: int) -> int:
    """The one process that it has started."""
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return int(child)
