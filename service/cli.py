"""Which commands are there? Those of the indexer, `serve`, and `demo`, which shows both at work."""

from __future__ import annotations

import contextlib
import functools
import logging
import platform
import socket
from pathlib import Path

import click

from indexer import logs, printing
from indexer.cli import (
    config_option,
    log_format_option,
    main,
    model_of,
    open_collection,
    settings_of,
    store_option,
)
from indexer.config import Settings
from indexer.errors import ConfigurationError
from indexer.logs import LogFormat

__all__ = ["main"]

log = logging.getLogger("parecido")

DEMO_COLLECTION = "python"
QUESTIONS = (
    "strip whitespace from both ends of a string",
    "run a command and capture its output",
    "remove the common indentation of several lines",
)

host_option = click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
port_option = click.option(
    "--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0: any free."
)


@main.command()
@host_option
@port_option
@log_format_option
@store_option
@config_option
def serve(host: str, port: int, log_format: LogFormat, store: Path | None, config: Path | None) -> None:
    """Answer queries over HTTP from what is published, and take up new generations as they come."""
    logs.configure(log_format, verbose=True, dated=True)
    _serve(settings_of(config, store).store, host, port)


@main.command()
@click.option("--ask", is_flag=True, help="Ask three questions, print the answers, and end.")
@host_option
@port_option
@store_option
@config_option
def demo(ask: bool, host: str, port: int, store: Path | None, config: Path | None) -> None:
    """Index the documentation of Python's standard library, and serve it.

    The second time nothing is embedded again.
    """
    logs.configure(verbose=True, dated=True)
    settings = settings_of(config, store)
    _index_demo(settings)
    if ask:
        _ask(settings)
        return
    address = f"http://{host}:{port}"
    click.echo(f"\nServing on {address}, with a page to try everything at {address}/docs. For example:\n")
    click.echo("\n\n".join(_curl_lines(address)) + "\n")
    _serve(settings.store, host, port)


def _index_demo(settings: Settings) -> None:
    from indexer.build import build
    from indexer.config import collection_settings
    from indexer.demo import write_corpus
    from indexer.progress import progress

    store = settings.store
    corpus = store / "demo" / f"python-{platform.python_version()}.jsonl"
    if not corpus.exists():
        click.echo("Collecting the documentation of Python's standard library …", err=True)
        corpus.parent.mkdir(parents=True, exist_ok=True)
        write_corpus(corpus)
    python = collection_settings({"source": str(corpus)}, "The demo")
    report = build(store, DEMO_COLLECTION, python, progress(DEMO_COLLECTION), cache=settings.cache)
    click.echo(printing.report(report))


def _ask(settings: Settings) -> None:
    from indexer.queries import Query, search

    snapshot = open_collection(settings, DEMO_COLLECTION)
    model = functools.cache(model_of(snapshot))
    for question in QUESTIONS:
        answer = search(snapshot, model, Query(text=question, limit=3))
        click.echo(f"\n{question}?\n{printing.hits(answer)}")


def _curl_lines(address: str) -> list[str]:
    """One query by text, one by item with a filter, one comparison."""
    route = f"curl -s {address}/v1/collections/{DEMO_COLLECTION}"
    kind = "-H 'content-type: application/json'"
    return [
        f"""{route}/search {kind} -d '{{"text": "{QUESTIONS[0]}", "limit": 3}}'""",
        f"""{route}/search {kind} -d '{{"id": "textwrap.dedent", "filter": {{"kind": "function"}}, "limit": 3}}'""",
        f"""{route}/compare {kind} -d '{{"a": {{"id": "str.strip"}}, "b": {{"text": "remove blanks"}}}}'""",
    ]


def _serve(store: Path, host: str, port: int) -> None:
    import uvicorn

    from service.app import create_app

    listener = _listen(host, port)
    address = f"http://{host if ':' not in host else f'[{host}]'}:{listener.getsockname()[1]}"
    told = {"event": "listening", "store": str(store), "address": address}
    log.info("serving store %s on %s, docs on %s/docs", store, address, address, extra=told)
    config = uvicorn.Config(
        create_app(store), log_config=None, log_level="warning", access_log=False, server_header=False
    )
    with contextlib.suppress(KeyboardInterrupt):  # how a person ends it; uvicorn raises it again when all is closed
        uvicorn.Server(config).run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        raise ConfigurationError(
            f"Cannot listen on {host}, port {port}: {error.strerror or error}. Choose another with --host and --port."
        ) from error
    return listener
