"""What does a token cost?

Prices are data: one dated file, `prices.toml` beside this module, and what the configuration says in its place. Money
is counted in whole nano-dollars (a billionth of a dollar), so that sums are exact; a part of one is rounded up. What
always holds: the price of a model that nobody named is unknown, and never 0; a model on one's own machine costs 0.
"""

from __future__ import annotations

import functools
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from importlib import resources
from typing import Literal

from indexer.providers import ModelSettings

Mode = Literal["normal", "batch"]

NANO = 1_000_000_000
"""Nano-dollars in a dollar."""
OLD_AFTER_DAYS = 365

_OWN_MACHINE = frozenset({"sentence-transformers"})
"""The providers whose models nobody is paid for."""
_NANO_OF_A_TOKEN = NANO // 1_000_000
"""Nano-dollars a token, for one dollar a million."""


@dataclass(frozen=True, slots=True)
class Price:
    """What a model's tokens cost, in dollars for a million."""

    per_million: Decimal
    batch_per_million: Decimal
    as_of: date | None
    """The day on which it was known to be so; None where the configuration says it, or nobody is paid."""


NOTHING = Price(Decimal(0), Decimal(0), None)
"""What a model on one's own machine costs."""


@dataclass(frozen=True, slots=True)
class PriceList:
    """The file of prices."""

    as_of: date
    """The day on which all of them were known to be so."""
    prices: Mapping[str, Price]
    """By the models' configured names, such as `openai:text-embedding-3-small`."""


@functools.cache
def price_list() -> PriceList:
    """The prices that Parecido knows by itself."""
    document = tomllib.loads(resources.files("indexer").joinpath("prices.toml").read_text(encoding="utf-8"))
    as_of: date = document.pop("date")
    return PriceList(
        as_of,
        {
            f"{provider}:{name}": Price(Decimal(one["per_million"]), Decimal(one["batch_per_million"]), as_of)
            for provider, models in document.items()
            for name, one in models.items()
        },
    )


def price_of(model_name: str, provider: str, overrides: Mapping[str, ModelSettings]) -> Price | None:
    """The price of the model of that configured name; None where it is unknown.

    `overrides` is what the configuration says of models, by the same names; it wins.
    """
    configured = overrides.get(model_name)
    if configured is not None and configured.price_per_million is not None:
        price, batch = configured.price_per_million, configured.batch_price_per_million
        return Price(price, price / 2 if batch is None else batch, None)
    return NOTHING if provider in _OWN_MACHINE else price_list().prices.get(model_name)


def cost(tokens: int, price: Price, mode: Mode = "normal") -> int:
    """Nano-dollars for so many tokens, rounded up to the next whole one."""
    per_million = price.batch_per_million if mode == "batch" else price.per_million
    return math.ceil(Fraction(per_million) * tokens * _NANO_OF_A_TOKEN)


def dollars(nano: int) -> str:
    """An amount for people: whole cents from a dollar on, and below that two digits that say something: "$0.0021"."""
    amount = Fraction(abs(nano), NANO)
    digits = 2 if amount >= 1 or not amount else max(2, 2 - math.floor(math.log10(amount)) - 1)
    shown = f"{Decimal(abs(nano)).scaleb(-9).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP):,f}"
    if "." in shown:  # $0.0300 says no more than $0.03
        whole, _, part = shown.partition(".")
        shown = f"{whole}.{part.rstrip('0'):0<2}"
    return f"{'-' if nano < 0 else ''}${shown}"


def warn_if_old(today: date) -> str | None:
    """A warning where the file of prices is old by that day; None where it is not."""
    as_of = price_list().as_of
    if (age := (today - as_of).days) <= OLD_AFTER_DAYS:
        return None
    return (
        f"The prices that Parecido knows are those of {as_of}, {age} days ago: look them up, and set "
        'price_per_million and batch_price_per_million in [models."NAME"] of parecido.toml.'
    )
