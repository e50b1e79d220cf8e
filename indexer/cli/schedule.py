"""How does `parecido index --schedule` start its runs?

Each run is the same command line without --schedule, in a process of its own, which reads parecido.toml anew.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click
from click.core import ParameterSource

from indexer import schedule
from indexer.cli.stop import Watch
from indexer.errors import ConfigurationError

PROGRAM = (sys.executable, "-P", "-m", "service")
"""This command in a new process; -P, lest a folder `service` where it is run be taken for ours."""

_ONCE = {
    "rebuild": "embed everything again in every run",
    "dry_run": "never publish anything",
    "allow_shrink": "never brake again",
}
"""What is for a single run, and what it would do in every one."""


def keep(command: click.Context, store: Path, expression: str, collections: tuple[str, ...]) -> None:
    """Run the command by the expression until this process is asked to end; raises ConfigurationError."""
    for name, consequence in _ONCE.items():
        if command.params.get(name):
            option = f"--{name.replace('_', '-')}"
            raise ConfigurationError(
                f"{option} with --schedule would {consequence}: run `parecido index {option}` once, by itself.",
                param="schedule",
            )
    with Watch() as watch:
        schedule.keep(store, expression, collections, lambda due: watch.run(command_line(command, due)), watch)


def command_line(command: click.Context, due: tuple[str, ...]) -> list[str]:
    """The command as it was given, without its schedule, for the collections that are due."""
    path = command.command_path.split()[1:]
    names = command.params["names"] if command.params["collection"] else due
    return [*PROGRAM, *path, *_given(command), "--", *names]


def _given(command: click.Context) -> Iterator[str]:
    """Every option of the command line but --schedule."""
    for option in command.command.params:
        name = option.name or ""
        given = command.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if not isinstance(option, click.Option) or not given or name == "schedule":
            continue
        value = command.params[name]
        if option.is_flag:
            yield (option.opts if value else option.secondary_opts)[0]
        else:
            for one in value if option.multiple else (value,):
                yield f"{option.opts[0]}={one}"
