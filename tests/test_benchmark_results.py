"""Does `python -m benchmarks all` keep what was measured, and is RESULTS.md what was kept?

One quick benchmark is run for real; what happens to figures is tried with a folder that holds what a run leaves.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from benchmarks import _kept
from benchmarks._kept import Run
from benchmarks._plan import plan, questions
from benchmarks._results import Shown, results
from benchmarks.figures import Aim, Figure, append, figure

ROOT = Path(__file__).parents[1]
RUN = Run("ann", "python -m benchmarks ann", "2026-01-02 03:04", {"cores": "2"}, 0.5, 0.0)
SLOW = figure("Indexes", "10 passages", "queries", [5.0, 1.0, 4.0], "/s", Aim("at least", 10, "it is slow."))
SURE = figure("Indexes", "10 passages", "recall", [0.97], "", Aim("at least", 0.95))


def all_benchmarks(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    command = [sys.executable, "-m", "benchmarks", "all", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8")


def finished(folder: Path, run: Run, *figures: Figure, code: int | None) -> None:
    """Leave what a run leaves."""
    _kept.begin(folder, run)
    if figures:
        append(_kept.figures_of(folder, run.name), figures)
    if code is not None:
        _kept.note(folder, replace(run, seconds=1.0, code=code))
        _kept.settle(folder, run.name)


def kept_figures(folder: Path) -> list[float]:
    kept = _kept.read(folder, "ann")
    assert kept is not None
    return [one.median for one in kept.figures]


def rows(text: str) -> list[list[str]]:
    """The cells of all tables."""
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]


def test_one_benchmark_is_run_and_the_file_shows_what_it_wrote(tmp_path: Path) -> None:
    done = all_benchmarks("--small", "--folder", str(tmp_path), "--only", "small_runs")
    assert done.returncode in (0, _kept.UNKEPT), done.stderr  # a ratio of times may miss its aim here
    text = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    written = [orjson.loads(line) for line in (tmp_path / "small_runs.jsonl").read_bytes().splitlines()]
    assert {one["column"] for one in written} == {"with other hits", "median time, ratio", "segments"}
    assert ["queries, no filter", "0", "1"] in [[row[0], row[1], row[3]] for row in rows(text) if len(row) == 5]
    assert "    python -m benchmarks small_runs --items 500 --runs 5 --queries 50" in text
    assert ["embedding", "not run yet"] in [row[:2] for row in rows(text)]


def test_the_file_is_written_again_without_a_run(tmp_path: Path) -> None:
    finished(tmp_path, replace(RUN, name="small_runs"), SLOW, code=0)
    there = sorted(tmp_path.iterdir())
    done = all_benchmarks("--folder", str(tmp_path), "--results", str(tmp_path / "R.md"), "--only")
    assert done.returncode == 0, done.stderr
    assert ["10 passages", "4 (1 to 5)", "3"] in rows((tmp_path / "R.md").read_text(encoding="utf-8"))
    assert sorted(tmp_path.iterdir()) == sorted([*there, tmp_path / "R.md"])


def test_a_benchmark_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = all_benchmarks("--folder", str(tmp_path), "--only", "dancing")
    assert done.returncode == 2
    assert "There is no dancing; there is embedding," in done.stderr


def test_a_benchmark_that_fails_does_not_keep_the_others_from_running(tmp_path: Path) -> None:
    (tmp_path / "python.jsonl").write_text("not JSON\n")
    done = all_benchmarks("--small", "--folder", str(tmp_path), "--only", "embedding", "small_runs")
    assert done.returncode == 1
    assert f"embedding ended with code {_kept.CRASHED}: it failed" in done.stdout
    assert (tmp_path / "small_runs.jsonl").exists()
    ended = {row[0]: row[3] for row in rows((tmp_path / "RESULTS.md").read_text(encoding="utf-8")) if len(row) == 7}
    assert ended["embedding"] == f"with code {_kept.CRASHED}: it failed"


@pytest.mark.parametrize("code", [_kept.CRASHED, -15, None])
def test_a_later_try_that_does_not_end_loses_nothing(tmp_path: Path, code: int | None) -> None:
    finished(tmp_path, RUN, SLOW, SURE, code=0)
    finished(tmp_path, RUN, replace(SLOW, median=7.0), code=code)
    assert kept_figures(tmp_path) == [4.0, 0.97]
    kept = _kept.read(tmp_path, "ann")
    assert kept is not None
    assert kept.failed is not None
    assert "The figures are of an earlier run" in results([Shown("ann", "?", kept)])


def test_a_later_run_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    finished(tmp_path, RUN, SLOW, SURE, code=0)
    finished(tmp_path, RUN, replace(SLOW, median=7.0), code=_kept.UNKEPT)
    assert kept_figures(tmp_path) == [7.0]
    kept = _kept.read(tmp_path, "ann")
    assert kept is not None
    assert (kept.run.code, kept.failed) == (_kept.UNKEPT, None)


def test_what_was_measured_before_the_first_run_was_killed_is_shown(tmp_path: Path) -> None:
    finished(tmp_path, RUN, SLOW, code=None)
    assert kept_figures(tmp_path) == [4.0]
    kept = _kept.read(tmp_path, "ann")
    assert "so that figures may be missing" in results([Shown("ann", "?", kept)])


def test_aims_are_judged_by_the_median_and_a_miss_has_its_reason(tmp_path: Path) -> None:
    finished(tmp_path, RUN, SLOW, SURE, code=0)
    text = results([Shown("ann", "?", _kept.read(tmp_path, "ann"))])
    assert ["Indexes: 10 passages, queries", "at least 10/s", "4/s (1 to 5)", "**no**", "it is slow."] in rows(text)
    assert ["Indexes: 10 passages, recall", "at least 0.95", "0.9700", "yes", ""] in rows(text)
    assert "1 of 2 are met." in text
    assert ["", "queries/s", "recall", "rounds"] in rows(text)


def test_every_benchmark_of_the_plan_is_there_and_takes_its_arguments(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    for small in (True, False):
        jobs = plan(tmp_path, tmp_path / "data", tmp_path / "texts", small)
        assert len({job.name for job in jobs}) == len(jobs)
        assert {job.benchmark for job in jobs} <= questions().keys()


def test_no_path_of_this_machine_gets_into_a_command_that_is_shown(tmp_path: Path) -> None:
    data = tmp_path / "articles.jsonl"
    data.write_bytes(b"")
    jobs = {job.name: job for job in plan(Path("kept"), data, data, small=False)}
    assert jobs["embedding"].command == "python -m benchmarks embedding articles.jsonl --texts 4000"
    assert "--data articles.jsonl" in jobs["http"].command
    assert str(data) in jobs["http"].arguments
