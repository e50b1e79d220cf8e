"""How does a command say that it waits for another run, and how long?

`--wait` alone is as long as it takes, `--wait 60` at most a minute; a word after it that is not a number is no part of
it, so that `parecido index --wait articles` waits and then indexes the articles.
"""

from __future__ import annotations

import itertools
import math
import re

import click

OPTION = "--wait"
_SECONDS = re.compile(r"\d+(\.\d*)?")

wait_option = click.option(
    OPTION,
    type=click.FloatRange(0),
    default=0.0,
    metavar="[SECONDS]",
    help="Wait for a run that holds the collection, and for batches of the Batch API, for so many seconds or as long "
    "as it takes; else leave at once.",
)


class WaitingCommand(click.Command):
    """A command with `wait_option`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse what was given, with the number of seconds that is meant where none is said."""
        before = list(itertools.takewhile(lambda arg: arg != "--", args))
        following = [*before, ""][1:]
        spelled = [
            f"{OPTION}={math.inf}" if arg == OPTION and not _SECONDS.fullmatch(next_) else arg
            for arg, next_ in zip(before, following, strict=True)
        ]
        return super().parse_args(ctx, spelled + args[len(before) :])
