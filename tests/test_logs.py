"""Is the log as it is promised: one line where nothing is wrong, sentences for people, JSON for programs?"""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from service_support import FEW, Run, Service, process, publish, until, write_rows

from indexer import logs, storage

pytest_plugins = ["service_fixtures"]

log = logging.getLogger("parecido")

CONFIG = '[collections.one]\nsource = "few.jsonl"\n[collections.two]\nsource = "few.jsonl"\n'


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Logging as it is set up for one test is nothing to another."""
    root, level, hook = logging.getLogger().handlers[:], log.level, sys.excepthook
    with warnings.catch_warnings():
        yield
    logging.captureWarnings(False)
    logging.getLogger().handlers[:], sys.excepthook = root, hook
    log.setLevel(level)


def parsed(text: str) -> list[dict[str, Any]]:
    """Every line, each an object."""
    return [json.loads(line) for line in text.removesuffix("\n").split("\n")]


def test_under_cron_a_run_with_nothing_wrong_prints_one_line_a_collection(here: Path) -> None:
    (here / "parecido.toml").write_text(CONFIG, encoding="utf-8")
    for said in ("published (nothing was published before): 2 added", "still current (nothing changed): 0 added"):
        done = process(here, "index")
        assert done.returncode == 0
        first, second = done.stdout.splitlines()
        assert first.startswith(f"one: generation 1 {said}")
        assert second.startswith(f"two: generation 1 {said}")
        assert done.stderr == ""


def test_with_log_format_json_the_report_of_a_run_is_a_line_of_the_log(run: Run) -> None:
    done = run("index", "few.jsonl", "--collection", "few", "--log-format", "json", "--json")
    (line,) = parsed(done.stderr)
    (report,) = parsed(done.stdout)
    assert report.items() <= line.items()
    assert line.keys() - report.keys() == {"time", "level", "event", "message"}
    assert (line["event"], line["level"]) == ("run", "info")
    assert line["message"].startswith("few: generation 1 published (nothing was published before): 2 added")
    told = datetime.fromisoformat(line["time"])
    assert line["time"].endswith("Z")
    assert len(line["time"]) == len("2026-01-01T00:00:00.000Z")
    assert abs(datetime.now(UTC) - told) < timedelta(hours=1)


def test_the_log_and_the_standard_output_each_have_what_is_theirs(run: Run, here: Path) -> None:
    (here / "bad.jsonl").write_text('{"id": "a", "text": "bread"}\nnot JSON\n', encoding="utf-8")
    (here / "parecido.toml").write_text(
        CONFIG + '[collections.bad]\nsource = "bad.jsonl"\n[collections.gone]\nsource = "gone.jsonl"\n',
        encoding="utf-8",
    )
    result = run("index", "--log-format", "json", code=4)
    assert result.stdout == ""
    told = parsed(result.stderr)
    assert [(t["event"], t["level"], t["collection"]) for t in told] == [
        ("run", "info", "one"),
        ("run", "info", "two"),
        ("run", "warning", "bad"),
        ("error", "error", "gone"),
    ]
    assert told[2]["items"]["rejected"] == 1
    assert (told[3]["code"], told[3]["type"]) == ("source_error", "data_error")
    result = run("index", "two", "gone", "--json", code=4)
    assert [line["collection"] for line in parsed(result.stdout)] == ["two", "gone"]
    (sentence,) = result.stderr.splitlines()
    assert sentence.startswith("parecido: gone: ")


@pytest.mark.parametrize("arguments", [("index", "--config", "none.toml"), ("serve", "--config", "none.toml")])
def test_an_error_before_anything_is_done_is_a_line_of_the_log_too(run: Run, arguments: tuple[str, ...]) -> None:
    (line,) = parsed(run(*arguments, "--log-format", "json", code=2).stderr)
    assert (line["level"], line["code"]) == ("error", "invalid_configuration")
    assert "none.toml" in line["message"]


def test_a_collection_that_is_held_is_one_line_with_its_code(run: Run, here: Path) -> None:
    with storage.lock(storage.collection_folder(here / "parecido-data", "few")):
        result = run("index", "few.jsonl", "--collection", "few", "--log-format", "json", code=5)
    (line,) = parsed(result.stderr)
    assert (line["event"], line["code"], line["collection"]) == ("error", "locked", "few")


def test_people_are_told_how_far_a_run_is_if_they_ask_and_programs_always(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for options, count in (({}, 0), ({"verbose": True}, 1), ({"format": "json"}, 1)):
        logs.configure(**options)  # type: ignore[arg-type]
        log.info("few: embed 10 of 20 items", extra={"event": "progress", "done": 10})
        assert capsys.readouterr().err.count("few: embed 10 of 20 items") == count


def test_whatever_a_message_holds_its_json_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json")
    log.warning("first\nsecond\u2028third %s", '"quoted"', extra={"path": Path("/x"), "n": {1: 2.5}})
    (line,) = parsed(capsys.readouterr().err)
    assert line["message"] == 'first\nsecond\u2028third "quoted"'
    assert (line["event"], line["level"], line["path"], line["n"]) == ("log", "warning", "/x", {"1": 2.5})


def test_what_libraries_warn_of_and_what_nobody_foresaw_are_lines_of_json_too(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure("json")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn("weights are missing", UserWarning, stacklevel=1)
    logging.getLogger("transformers.modeling").warning("some weights were not used")
    try:
        raise KeyError("oh")
    except KeyError as error:
        sys.excepthook(KeyError, error, error.__traceback__)
    warned, library, crashed = parsed(capsys.readouterr().err)
    assert "weights are missing" in warned["message"]
    assert library["message"] == "some weights were not used"
    assert (crashed["level"], crashed["event"], crashed["message"]) == ("critical", "crashed", "KeyError: 'oh'")
    assert "Traceback" in crashed["exception"]


def test_a_later_set_up_takes_the_place_of_an_earlier_one(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(3):
        logs.configure(dated=True)
    log.error("once")
    assert capsys.readouterr().err.endswith(" ERROR once\n")
    logs.configure()
    log.error("once")
    assert capsys.readouterr().err == "parecido: once\n"


def test_each_line_of_one_of_several_workers_says_which_process_wrote_it(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(dated=True)
    log.error("before")
    logs.name_worker()
    log.error("100%% of %s", "it")
    before, after = capsys.readouterr().err.splitlines()
    assert before.endswith(" ERROR before")
    assert after.endswith(f" ERROR worker {os.getpid()}: 100% of it")
    logs.configure("json")
    log.error("before", extra={"event": "worker_ended", "worker": 1})
    logs.name_worker()
    log.error("after")
    told = parsed(capsys.readouterr().err)
    assert [(line["message"], line["worker"]) for line in told] == [("before", 1), ("after", os.getpid())]


def test_the_service_logs_json_with_what_it_serves(tmp_path: Path) -> None:
    store = tmp_path / "store"
    publish(store, "few", FEW)
    service = Service(store, tmp_path / "log", "--log-format", "json")
    try:
        until(lambda: '"serving"' in service.log or service.process.poll() is not None, "a served collection")
        write_rows(store / "few.jsonl", FEW)
        (store / "collections" / "few" / "generations" / "000002.json").write_text("{}", encoding="utf-8")
        until(lambda: '"not_served"' in service.log, "a damaged generation in the log")
    finally:
        service.stop()
    listening, serving, bad = parsed(service.log)[:3]
    assert listening["address"].startswith("http://127.0.0.1:")
    assert (serving["event"], serving["collection"], serving["generation"]) == ("serving", "few", 1)
    assert (bad["level"], bad["generation"], bad["code"]) == ("error", 2, "corrupt_generation")
    assert not any("worker" in line for line in (listening, serving, bad))


def test_of_several_workers_each_says_which_it_is(tmp_path: Path) -> None:
    store = tmp_path / "store"
    publish(store, "few", FEW)
    service = Service(store, tmp_path / "log", "--log-format", "json", "--workers", "2")
    try:
        until(lambda: service.log.count('"serving"') == 2, "two workers that serve")
        own = service.process.pid
        pids = Path(f"/proc/{own}/task/{own}/children").read_text(encoding="utf-8").split()
    finally:
        service.stop()
    listening, *serving = parsed(service.log)
    assert "worker" not in listening, "the one that started them is none of them"
    assert {line["worker"] for line in serving} == {int(pid) for pid in pids}
