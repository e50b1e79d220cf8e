"""The real command over a model behind an API, in processes that may be killed at any moment.

Orders come in as to `killed_command`, whose `log` nobody writes here: the server of the API outlives the command, and
knows what it was asked. Nothing is replaced but the size of a request and the pauses, so that there are many of them.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path

import openai  # noqa: F401 – as the next ones: what the command imports is there before it is forked
from behind_api import ServedStandIn
from killed_command import obey

import indexer.build
import indexer.estimate
import indexer.progress  # noqa: F401
from indexer.chunking import document_chunker
from indexer.config import PassageSettings
from indexer.models import openai as api
from indexer.models import openai_failures, openai_packing
from service.cli import main

INPUTS = 8
"""Texts in a request, at most."""
IN_FLIGHT = 3


def command(_: Path, arguments: list[str]) -> None:
    """Be `parecido`."""
    main(arguments, prog_name="parecido")


def start() -> None:
    """Be the command, or fork it."""
    api.pack = functools.partial(openai_packing.pack, inputs=INPUTS)
    openai_failures.FIRST_WAIT = 0.01
    if len(sys.argv) > 1:
        command(Path(), sys.argv[2:])
    model = ServedStandIn()
    document_chunker(model, PassageSettings())  # takes a while, and is kept
    model.tokenizer.count("a text")
    obey(command, __file__)


if __name__ == "__main__":
    start()
