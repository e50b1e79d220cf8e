"""Does a process that waits for slow answers of the API end soon, with all that came in the cache?"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from behind_api import CONFIGURATION, variables
from openai_server import OpenAIProcess
from soak_openai import cached
from support import write_rows

TEXTS = [f"text number {n}" for n in range(40)]
HELD = 300
"""Seconds, of which nobody should wait for more than a few."""
SMALL_REQUESTS = "from indexer.models import openai_packing\nopenai_packing.INPUTS = 4\n"
COMMAND = "from service.cli import main\nmain()\n"
LEFT = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from openai_fixtures import configured, providers
from indexer import models
known = providers(sys.argv[1])
stream = models.load(models.identify(configured(), known), providers=known).embed_stream({TEXTS!r})
for _ in range(3):
    next(stream)
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[OpenAIProcess]:
    """Three requests are answered, and all others far too late."""
    with OpenAIProcess(tmp_path / "ledger.jsonl") as running:
        running.plan(*["shuffled"] * 3)
        running.mix("hold_after", share=1, seconds=HELD)
        yield running


@contextmanager
def started(folder: Path, server: OpenAIProcess, code: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A program with four texts a request; it is killed where a test fails before it ends."""
    with subprocess.Popen(
        [sys.executable, "-c", SMALL_REQUESTS + code, *arguments],
        cwd=folder,
        env={**os.environ, **variables(server)},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_run_that_is_told_to_end_does_so_and_keeps_what_was_answered(tmp_path: Path, server: OpenAIProcess) -> None:
    write_rows(tmp_path / "rows.jsonl", [{"id": text, "text": text} for text in TEXTS])
    config = CONFIGURATION.format(openai="", name="things", source='"rows.jsonl"')
    (tmp_path / "parecido.toml").write_text(config, encoding="utf-8")
    cache = tmp_path / "store" / "embeddings.sqlite"
    with started(tmp_path, server, COMMAND, "index", "--store", "store") as command:
        while len(cached(cache)) < 12:
            assert command.poll() is None
            time.sleep(0.05)
        command.send_signal(signal.SIGTERM)
        said = command.communicate(timeout=HELD / 5)[1]
    assert command.returncode == 143, said
    assert "SIGTERM" in said
    assert "Traceback" not in said
    assert len(cached(cache)) == 12
    assert not list((tmp_path / "store").rglob("generations/*.json"))


def test_a_process_ends_although_answers_are_outstanding(tmp_path: Path, server: OpenAIProcess) -> None:
    with started(tmp_path, server, LEFT, server.url) as process:
        said = process.communicate(timeout=HELD / 5)[1]
    assert (process.returncode, said) == (0, "")
