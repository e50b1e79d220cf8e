"""May a run publish while texts are with the Batch API?

A source changes while a batch is pending, so that with every run some texts are new; a run that waited for all of them
would never publish. What is owed is waited for: texts that were sent by an earlier run, or that failed and are sent
again. What is late, sent first by a run that picks up others, is not.
"""

from __future__ import annotations

from dataclasses import dataclass

LATE_SHARE = 0.5
"""Of what was picked up, how much a rebuild takes at the normal price so that it comes to an end."""


@dataclass(slots=True)
class Standing:
    """The texts that a run needs and has no vector of."""

    picked_up: int = 0
    """That came back since the last publication, and are no longer missing."""
    under_way: int = 0
    """That the Batch API has since before."""
    again: int = 0
    """That it had, and that failed."""
    new: int = 0
    """That were never sent."""

    @property
    def owed(self) -> int:
        """Without which nothing is published."""
        return self.under_way + self.again


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a run does about the texts that are missing."""

    sends: bool
    """Whether what is not with the Batch API yet is sent there."""
    publishes: bool
    """What is not sent and not with the API already is then embedded at once; what is waits, with its item."""
    pending: int
    """Texts that are needed and with the API then."""
    reason: str
    """Why it publishes nothing, or not all; empty where it does."""


AT_ONCE = Verdict(sends=False, publishes=True, pending=0, reason="")


def verdict(found: Standing, *, batch: bool, everything: bool) -> Verdict:
    """Decide; `batch` is whether texts are to be sent in batches, `everything` whether every item is written again."""
    if not batch:  # what has failed is embedded at once, as is what is new
        return _waits(found.under_way, sends=False) if found.under_way else AT_ONCE
    if found.owed or (found.new and not found.picked_up):
        return _waits(found.owed + found.new, sends=True)
    if not found.new:
        return AT_ONCE
    if everything:  # which has to come to an end
        return AT_ONCE if found.new <= found.picked_up * LATE_SHARE else _waits(found.new, sends=True)
    return Verdict(True, True, found.new, f"{_texts(found.new, ' that came later')} with the Batch API")


def _waits(count: int, sends: bool) -> Verdict:
    return Verdict(sends, False, count, f"{_texts(count)} with the Batch API; a later run picks them up")


def _texts(count: int, which: str = "") -> str:
    return f"1 text{which} is" if count == 1 else f"{count:,} texts{which} are"
