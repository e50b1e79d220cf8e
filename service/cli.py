"""Which commands are there? Those of the indexer, `serve`, and `demo`, which shows both at work."""

from __future__ import annotations

import functools
import platform
from pathlib import Path

import click

from indexer import logs, printing
from indexer.access import Access
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
from indexer.cores import limit_threads
from indexer.logs import LogFormat
from service import listening

__all__ = ["main"]

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
anyone_option = click.option(
    "--allow-anyone",
    is_flag=True,
    help="Listen beyond loopback without API keys, so that anyone who reaches the service can read every collection; "
    "also PARECIDO_ALLOW_ANYONE=1.",
)


@main.command()
@host_option
@port_option
@anyone_option
@click.option(
    "--workers",
    default=1,
    show_default=True,
    type=click.IntRange(1, 256),
    help="Processes that answer. They share one copy of the vectors and indexes; each loads the model. Each line of "
    "the log names the one that wrote it, by its process id.",
)
@log_format_option
@store_option
@config_option
def serve(
    host: str,
    port: int,
    allow_anyone: bool,
    workers: int,
    log_format: LogFormat,
    store: Path | None,
    config: Path | None,
) -> None:
    """Answer queries over HTTP from what is published, and take up new generations as they come.

    With PARECIDO_API_KEYS, one key or several with commas between them, every request has to come with one of them, as
    `Authorization: Bearer KEY`; only /healthz, /readyz and /docs are open to all. SIGTERM and Ctrl-C end it once the
    requests under way are answered.
    """
    logs.configure(log_format, verbose=True, dated=True)
    settings = settings_of(config, store)
    access = _access(settings, allow_anyone)
    listener = listening.listen(host, port, access)
    listening.serve(settings.store, listener, listening.url(host, listener), access, settings.providers, workers)


@main.command()
@click.option("--ask", is_flag=True, help="Ask three questions, print the answers, and end.")
@click.option("--quick", is_flag=True, help="Index built-in types and a few modules alone, in a tenth of the time.")
@host_option
@port_option
@anyone_option
@store_option
@config_option
def demo(
    ask: bool, quick: bool, host: str, port: int, allow_anyone: bool, store: Path | None, config: Path | None
) -> None:
    """Index the documentation of Python's standard library, and serve it.

    The second time nothing is embedded again.
    """
    logs.configure(verbose=True, dated=True)
    settings = settings_of(config, store)
    if ask:
        _index_demo(settings, quick)
        _ask(settings)
        return
    access = _access(settings, allow_anyone)
    listener = listening.listen(host, port, access)
    _index_demo(settings, quick)
    address = listening.url(host, listener)
    click.echo(f"\nServing on {address}, with a page to try everything at {address}/docs. For example:\n")
    click.echo("\n\n".join(_curl_lines(address, access)) + "\n")
    listening.serve(settings.store, listener, address, access, settings.providers)


def _access(settings: Settings, allow_anyone: bool) -> Access:
    """Who may ask, by the environment and the command line."""
    return settings.access.model_copy(update={"allow_anyone": allow_anyone or settings.access.allow_anyone})


def _index_demo(settings: Settings, quick: bool) -> None:
    limit_threads()
    from indexer.build import build
    from indexer.config import collection_settings
    from indexer.demo import QUICK, write_corpus
    from indexer.progress import progress

    store = settings.store
    corpus = store / "demo" / f"python-{platform.python_version()}{'-quick' if quick else ''}.jsonl"
    if not corpus.exists():
        click.echo("Collecting the documentation of Python's standard library …", err=True)
        corpus.parent.mkdir(parents=True, exist_ok=True)
        write_corpus(corpus, QUICK if quick else ())
    python = collection_settings({"source": str(corpus), "max_shrink": 1}, "The demo")
    report = build(
        store, DEMO_COLLECTION, python, progress(DEMO_COLLECTION), cache=settings.cache, providers=settings.providers
    )
    click.echo(printing.report(report))


def _ask(settings: Settings) -> None:
    from indexer.queries import Query, search

    snapshot = open_collection(settings, DEMO_COLLECTION)
    model = functools.cache(model_of(snapshot, settings.providers))
    for question in QUESTIONS:
        answer = search(snapshot, model, Query(text=question, limit=3))
        click.echo(f"\n{question}?\n{printing.hits(answer)}")


def _curl_lines(address: str, access: Access) -> list[str]:
    """One query by text, one by item with a filter, one comparison."""
    key = " -H 'authorization: Bearer KEY'" if access.api_keys else ""
    route = f"curl -s{key} {address}/v1/collections/{DEMO_COLLECTION}"
    kind = "-H 'content-type: application/json'"
    return [
        f"""{route}/search {kind} -d '{{"text": "{QUESTIONS[0]}", "limit": 3}}'""",
        f"""{route}/search {kind} -d '{{"id": "textwrap.dedent", "filter": {{"kind": "function"}}, "limit": 3}}'""",
        f"""{route}/compare {kind} -d '{{"a": {{"id": "str.strip"}}, "b": {{"text": "remove blanks"}}}}'""",
    ]
