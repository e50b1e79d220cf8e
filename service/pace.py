"""How long have searches of a collection taken lately, by what they filter by?"""

from __future__ import annotations

from collections import OrderedDict

from indexer.filters import Filter

FILTERS = 8
"""Whose searches are remembered: fewer than have their passing items kept (`FILTERS_KEPT` of `indexer.parts`), so
that one of these has nearly always its items at hand."""
_WEIGHT = 0.1


class Pace:
    """A running mean that recent searches weigh most in; endless before the first."""

    __slots__ = ("seconds",)

    def __init__(self) -> None:
        self.seconds = float("inf")

    def note(self, seconds: float) -> None:
        """Take one more into account."""
        known = self.seconds
        self.seconds = seconds if known == float("inf") else known + _WEIGHT * (seconds - known)


class Paces:
    """The pace of searches without a filter, and with each of those that came lately."""

    def __init__(self) -> None:
        self._plain = Pace()
        self._filtered: OrderedDict[Filter, Pace] = OrderedDict()

    def of(self, filter: Filter | None) -> Pace:
        """The pace of searches with that filter.

        The first one's is nobody's: it looks for the items that pass, which those after it find at hand.
        """
        if filter is None:
            return self._plain
        known = self._filtered.get(filter)
        if known is None:
            self._filtered[filter] = Pace()
            if len(self._filtered) > FILTERS:
                self._filtered.popitem(last=False)
            return Pace()
        self._filtered.move_to_end(filter)
        return known
