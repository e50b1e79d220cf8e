"""What does a run pay, and may it pay more?

What always holds: what an answer cost is in the ledger before it counts as kept; a request that could pass a limit,
together with those under way, is not made. A model on one's own machine costs nothing, and nothing is written down.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from indexer.config import CollectionSettings
from indexer.errors import BrakeRefused, ConfigurationError
from indexer.ledger import Entry, Ledger
from indexer.models import Embedded, Fingerprint
from indexer.prices import NANO, Mode, Price, cost, dollars, price_of
from indexer.providers import Providers
from indexer.report import Paid


@dataclass(frozen=True, slots=True)
class Bill:
    """Who pays for what."""

    collection: str
    model: str
    run: str
    mode: Mode
    price: Price | None
    """None where it is unknown."""


@dataclass(frozen=True, slots=True)
class Limit:
    """How much more may be paid."""

    setting: str
    """Which setting says so."""
    allowed: int
    """By the setting, in nano-dollars."""
    spent: int
    """Before the run began, of what the setting allows."""

    @property
    def left(self) -> int:
        """Nano-dollars that the run may pay."""
        return self.allowed - self.spent

    def passed(self, nano_dollars: int) -> str:
        """Why so much is too much."""
        before = f", of which {dollars(self.spent)} are spent" if self.spent else ""
        return f"{self.setting} is {dollars(self.allowed)}{before}: {dollars(nano_dollars - self.left)} too much"


class Meter:
    """Counts what a run pays, writes it down, and stops at the limits."""

    def __init__(self, bill: Bill, limits: tuple[Limit, ...], paid: Ledger) -> None:
        """Raises ConfigurationError where there is a limit, but the price is unknown."""
        if limits and bill.price is None:
            raise ConfigurationError(
                f"{limits[0].setting} is set, but what model {bill.model!r} costs is not known: set price_per_million "
                f'in [models."{bill.model}"] of parecido.toml.',
                param=limits[0].setting,
            )
        self.bill = bill
        self._limits = limits
        self._ledger = paid
        self._reserved = 0
        self._stopped: str | None = None
        self._requests = self._tokens = self._spent = 0
        self._estimated = False
        self._picked_up: list[Entry] = []

    @property
    def limited(self) -> bool:
        """Whether there is any limit."""
        return bool(self._limits)

    @property
    def paid(self) -> Paid:
        """What was paid so far."""
        came = self._picked_up
        unpriced = (self.bill.price is None and self._tokens) or any(one.nano_dollars is None for one in came)
        spent = self._spent + sum(one.nano_dollars or 0 for one in came)
        return Paid(
            self._requests + sum(one.requests for one in came),
            self._tokens + sum(one.tokens for one in came),
            None if unpriced else spent / NANO,
            self._estimated or any(one.estimated for one in came),
        )

    def include(self, entries: Iterable[Entry]) -> None:
        """Tell of these with what was paid: the limits that were asked before, when they were ordered, are not now."""
        self._picked_up += entries

    def foresee(self, tokens: int, exact: bool) -> str | None:
        """Why so many tokens would be too dear; None where they would not."""
        price = self._cost(tokens)
        limit = self._passed(price)
        if limit is None:
            return None
        about = "" if exact else ", both estimated"
        return (
            f"the run would pay {dollars(price)} for {tokens:,} tokens{about}, and {limit.passed(price)}: raise it, or "
            "index less at once"
        )

    def allows(self, tokens: int) -> bool:
        """Whether a request of so many tokens may be made; once one may not, none may."""
        if self._stopped is not None:
            return False
        price = self._cost(tokens)
        total = self._spent + self._reserved + price
        if limit := self._passed(total):
            self._stopped = limit.passed(total)
            return False
        self._reserved += price
        return True

    def note(self, answer: Embedded) -> None:
        """Remember what an answer came to; what was paid is on disk when this returns."""
        self._reserved -= self._cost(answer.reserved)
        if answer.billed:
            self.add(1, len(answer.rows), answer.billed, answer.estimated)

    def add(self, requests: int, texts: int, tokens: int, estimated: bool, once: str | None = None) -> None:
        """Write down what was paid; under a key `once` only the first time, whoever does."""
        bill = self.bill
        price = None if bill.price is None else cost(tokens, bill.price, bill.mode)
        entry = Entry(bill.collection, bill.model, bill.mode, bill.run, requests, texts, tokens, price, estimated)
        if self._ledger.record(entry, once):
            self._requests += requests
            self._tokens += tokens
            self._spent += price or 0
            self._estimated |= estimated

    def check(self) -> None:
        """Raise BrakeRefused where a request was not allowed."""
        if self._stopped is not None:
            raise BrakeRefused(
                f"Nothing was published, and no more is asked for: {self._stopped}. What was embedded is kept, and "
                "the next run goes on with it."
            )

    def _cost(self, tokens: int) -> int:
        return 0 if self.bill.price is None else cost(tokens, self.bill.price, self.bill.mode)

    def _passed(self, nano_dollars: int) -> Limit | None:
        """The narrowest limit that so much would pass."""
        over = [limit for limit in self._limits if nano_dollars > limit.left]
        return min(over, key=lambda limit: limit.left, default=None)


def metered(
    paid: Ledger,
    collection: str,
    run: str,
    settings: CollectionSettings,
    fingerprint: Fingerprint,
    providers: Providers,
    committed: int = 0,
) -> Meter:
    """The meter of a run; raises ConfigurationError where a limit is set that needs an unknown price.

    `committed` is what is ordered and will be paid, in nano-dollars.
    """
    price = price_of(fingerprint.name, fingerprint.provider, providers.models)
    limits = []
    if fingerprint.provider == "openai":
        if settings.max_cost is not None:
            limits.append(Limit("max_cost", _nano(settings.max_cost), 0))
        if (monthly := providers.openai.max_cost_month) is not None:
            spent = paid.month(datetime.now(UTC).date()).nano_dollars + committed
            limits.append(Limit("openai.max_cost_month", _nano(monthly), spent))
    return Meter(Bill(collection, fingerprint.name, run, settings.mode, price), tuple(limits), paid)


def _nano(amount: Decimal) -> int:
    return int(amount * NANO)
