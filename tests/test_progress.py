"""Does a person see how far a run is, on a terminal and in a log?"""

from __future__ import annotations

import fcntl
import logging
import os
import pty
import struct
import subprocess
import sys
import termios

import pytest

from indexer import progress
from indexer.progress import Lines

RUN = """
import logging
from indexer.logs import configure
from indexer.progress import progress
told = progress("things")
told.begin("embed", 40, "items")
told.advance(10)
configure()
logging.getLogger("parecido").warning("careful")
told.end()
"""


def test_a_terminal_shows_a_bar_with_the_collection_the_stage_and_the_units() -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    child = subprocess.run([sys.executable, "-c", RUN], stderr=theirs, stdout=subprocess.PIPE, check=True)
    os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert child.stdout == b""
    assert "things: embed:   0%|" in shown
    assert "0/40 [" in shown
    assert "items" in shown
    assert "\rparecido: careful\r\n" in shown  # on a line of its own


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "parecido")
    return caplog


def test_a_log_gets_a_line_when_half_a_minute_has_passed(
    told: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    lines = Lines("things")
    lines.begin("embed", 4000, "items")
    for seconds, count in ((29, 500), (1, 500), (20, 500), (10, 500)):
        now += seconds
        lines.advance(count)
    lines.end()
    assert told.messages == [
        "things: embed 1,000 of 4,000 items, 33.3/s, 1 min 30 s left",
        "things: embed 2,000 of 4,000 items, 33.3/s, 1 min 0 s left",
    ]


def test_a_log_line_without_a_total_promises_no_end(
    told: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    lines = Lines("things")
    lines.begin("read", None, "rows")
    now = 60.0
    lines.advance(120_000)
    assert told.messages == ["things: read 120,000 rows, 2,000.0/s"]
    (line,) = told.records
    expected = {"event": "progress", "stage": "read", "done": 120_000, "total": None, "unit": "rows", "per_second": 2e3}
    assert expected.items() <= vars(line).items()


def test_a_run_that_is_over_soon_leaves_no_line(told: pytest.LogCaptureFixture) -> None:
    lines = Lines("things")
    lines.begin("embed", 10, "items")
    lines.advance(10)
    lines.end()
    assert told.messages == []


def test_a_stage_within_another_is_counted_by_itself_and_the_other_goes_on(
    told: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    lines = Lines("things")
    lines.begin("embed", 4000, "items")
    lines.advance(1000)
    lines.begin("index", 1000, "passages")
    now += 40
    lines.advance(500)
    lines.end()
    now += 40
    lines.advance(1000)
    lines.end()
    assert told.messages == [
        "things: index 500 of 1,000 passages, 12.5/s, 40 s left",
        "things: embed 2,000 of 4,000 items, 25.0/s, 1 min 20 s left",
    ]
