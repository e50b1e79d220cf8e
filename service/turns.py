"""Which searches are made together?

Those that came while the loop was at something else, and are quick: each waits until all that has come was read, and
the first to go on makes the searches of all, by collection and filter. What they have in common is then done once, see
`indexer.together`. To wait costs a turn of the loop: where nobody else has come for some time, only two in so many
look whether somebody does now. Everything here happens in the thread of one event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from indexer import queries
from indexer.filters import Filter
from indexer.queries import Resolved
from indexer.search import Scored
from service.pace import Pace
from service.served import Served

SOME = 32
"""Searches in a row that had no company, after which only two in so many wait for some.

Two, as the first may be the last of those that have come together; the other is then the first of the next.
"""


@dataclass(eq=False, slots=True)
class _Search:
    """One that waits for its turn."""

    served: Served
    resolved: Resolved
    pace: Pace
    outcome: Sequence[Scored] | Exception | None = None
    """What was found, or why nothing could be; None before its turn."""


class Turns:
    """Makes the searches that have come in together."""

    def __init__(self) -> None:
        self._waiting: list[_Search] = []
        self._alone = 0
        """Searches in a row that had no company."""

    async def find(self, served: Served, resolved: Resolved, pace: Pace) -> Sequence[Scored]:
        """The items nearest to a query whose vectors are known; how long that took is noted for its pace."""
        mine = _Search(served, resolved, pace)
        self._waiting.append(mine)
        if len(self._waiting) > 1 or self._alone < SOME or self._alone % SOME < 2:
            await asyncio.sleep(0)  # whatever else has come is read, and waits as well
        if mine.outcome is None:
            self._make_all()
        if mine.outcome is None or isinstance(mine.outcome, Exception):
            raise mine.outcome or RuntimeError("The search was given up with the one that was to make it.")
        return mine.outcome

    def _make_all(self) -> None:
        waiting, self._waiting = self._waiting, []
        self._alone = 0 if len(waiting) > 1 else self._alone + 1
        groups: dict[tuple[int, Filter | None], list[_Search]] = {}
        for one in waiting:
            groups.setdefault((id(one.served), one.resolved.filter), []).append(one)
        for group in groups.values():
            _make(group)


def _make(group: Sequence[_Search]) -> None:
    began = time.perf_counter()
    try:
        found = queries.find_each(group[0].served.snapshot, [one.resolved for one in group])
    except Exception as failure:  # it is raised to each who asked
        for one in group:
            one.outcome = failure
        return
    seconds = (time.perf_counter() - began) / len(group)
    for one, page in zip(group, found, strict=True):
        one.outcome = page
        one.pace.note(seconds)
