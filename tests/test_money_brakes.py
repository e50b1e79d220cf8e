"""Does a run stay within what it may pay?

A model stands in for one behind an API: every request has its price, and its answers say what they cost.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from support import NAME, Place, Silent, StandIn, contents, settings_for, write_rows

from indexer import models, printing
from indexer.build import build
from indexer.config import CollectionSettings
from indexer.errors import BrakeRefused, ConfigurationError
from indexer.estimate import Estimate, estimate
from indexer.ledger import Entry, ledger
from indexer.models import Allows, Embedded, Fingerprint, whatever_it_costs
from indexer.prices import NANO
from indexer.providers import ModelSettings, OpenAISettings, Providers
from indexer.report import Paid, Report

MODEL = "openai:stand-in"
IN_FLIGHT = 3


class Paying(StandIn):
    """Asks for one text a request, three requests at once, and is billed for what the tokenizer counts."""

    fingerprint = Fingerprint("openai", MODEL, "", 16, "", "", "api", normalised=True, space="somewhere")

    def embed_stream(self, texts: Sequence[str], allows: Allows = whatever_it_costs) -> Iterator[Embedded]:
        waiting, under_way = list(enumerate(texts)), list[tuple[int, str, int]]()
        while waiting or under_way:
            while waiting and len(under_way) < IN_FLIGHT:
                row, text = waiting[0]
                tokens = self.tokenizer.count(text) + self.tokenizer.special
                if not allows(tokens):
                    waiting.clear()
                    break
                under_way.append((row, text, tokens))
                waiting.pop(0)
            if under_way:
                row, text, tokens = under_way.pop(0)
                yield Embedded([row], self.embed_documents([text]), reserved=tokens, billed=tokens)


class Till:
    """A place whose model has to be paid."""

    def __init__(self, folder: Path, model: Paying) -> None:
        self.place, self.model = Place(folder), model
        write_rows(self.place.source, ROWS)

    def settings(self, **changes: object) -> CollectionSettings:
        return settings_for(self.place.source, **{"model": MODEL, **changes})

    def run(
        self, price: str | None = "1000", month: str | None = None, rebuild: bool = False, **changes: object
    ) -> Report:
        found, settings = providers(price, month), self.settings(**changes)
        return build(self.place.store, NAME, settings, Silent(), rebuild, providers=found)

    def ask(self, price: str | None = "1000", month: str | None = None, **changes: object) -> Estimate:
        found = providers(price, month)
        return estimate(self.place.store, NAME, self.settings(**changes), Silent(), providers=found)


def providers(price: str | None, month: str | None) -> Providers:
    """The model's price for a million tokens, 1,000 dollars by default: a thousandth of a dollar a token."""
    known = {MODEL: ModelSettings(price_per_million=Decimal(price))} if price else {}
    return Providers(openai=OpenAISettings(max_cost_month=month and Decimal(month)), models=known)


ROWS = [{"id": f"{i}", "text": f"Text {i}."} for i in range(10)]
TOKENS = 5
"""Of each, special ones included: [CLS] text i . [SEP]"""


@pytest.fixture
def till(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Till:
    model = Paying()
    monkeypatch.setattr(models, "identify", lambda *_: model.fingerprint)
    monkeypatch.setattr(models, "load", lambda *_: model)
    return Till(tmp_path, model)


def test_the_report_and_the_ledger_say_what_was_paid(till: Till) -> None:
    report = till.run()
    assert report.paid == Paid(requests=10, tokens=50, dollars=0.05, estimated=False)
    assert till.place.snapshot.generation.report is not None
    assert till.place.snapshot.generation.report["paid"]["dollars"] == 0.05
    with ledger(till.place.store) as paid:
        spent = paid.total()
    assert (spent.requests, spent.texts, spent.tokens, spent.nano_dollars) == (10, 10, 50, 50_000_000)
    assert till.run().paid == Paid()


def test_a_run_that_would_cost_too_much_pays_nothing_and_says_by_how_much(till: Till) -> None:
    told = r"the run would pay \$0\.05 for 50 tokens, and max_cost is \$0\.049: \$0\.001 too much"
    with pytest.raises(BrakeRefused, match=told):
        till.run(max_cost="0.049")
    assert till.model.asked == []
    assert not (till.place.store / "costs.sqlite").exists()
    refused = till.ask(max_cost="0.049")
    assert not refused.publishes
    assert "$0.001 too much" in refused.reason
    assert till.run(max_cost="0.05").published


def test_what_is_cached_or_published_does_not_count(till: Till) -> None:
    till.run()
    write_rows(till.place.source, [*ROWS, {"id": "new", "text": "Text x."}])
    assert till.run(max_cost="0.005").paid.dollars == 0.005
    assert till.run(max_cost="0", rebuild=True).paid == Paid()


def test_the_calendar_month_has_a_limit_of_its_own_for_all_collections_together(till: Till) -> None:
    with ledger(till.place.store) as paid:
        paid.record(Entry("another", MODEL, "normal", "run", 1, 1, 10, 30_000_000))
    told = r"openai\.max_cost_month is \$0\.07, of which \$0\.03 are spent: \$0\.01 too much"
    with pytest.raises(BrakeRefused, match=told):
        till.run(month="0.07")
    assert till.run(month="0.08").published


def test_a_run_under_way_stops_in_time_and_the_next_goes_on_with_what_it_kept(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("indexer.meter.Meter.foresee", lambda *_: None)  # as if the texts had seemed shorter
    with pytest.raises(BrakeRefused, match=r"no more is asked for: max_cost is \$0\.022: \$0\.003 too much"):
        till.run(max_cost="0.022")
    assert len(till.model.asked) == 4
    assert till.place.numbers == []
    with ledger(till.place.store) as paid:
        assert paid.total().nano_dollars == 20_000_000 <= 0.022 * NANO
    monkeypatch.undo()
    monkeypatch.setattr(models, "identify", lambda *_: till.model.fingerprint)
    monkeypatch.setattr(models, "load", lambda *_: till.model)
    assert till.run(max_cost="0.03").paid.dollars == 0.03
    assert sorted(till.model.asked) == [row["text"] for row in ROWS]
    assert len(contents(till.place.store)) == 10


def test_an_unknown_price_is_unknown_and_no_limit_can_be_kept_with_it(till: Till) -> None:
    with pytest.raises(ConfigurationError, match="max_cost is set, but what model 'openai:stand-in' costs is not"):
        till.run(price=None, max_cost="1")
    told = till.ask(price=None)
    assert (told.cost.dollars, told.cost.batch_dollars, told.tokens) == (None, None, 50)
    assert till.run(price=None).paid == Paid(requests=10, tokens=50, dollars=None, estimated=False)
    with ledger(till.place.store) as paid:
        assert (paid.total().nano_dollars, paid.total().unpriced_tokens) == (0, 50)


def test_an_estimate_counts_the_prompts_that_are_paid_for_and_says_so(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompted = replace(Paying.fingerprint, document_prompt="passage: ")
    monkeypatch.setattr(Paying, "fingerprint", prompted)
    told, each = till.ask(), TOKENS + till.model.tokenizer.count("passage: ")
    assert (told.tokens, told.cost.dollars) == (10 * each, 10 * each / 1000)
    assert f" cached; {10 * each} tokens to pay for, $" in printing.estimate(told)


def test_an_estimate_says_what_both_rates_would_cost(till: Till) -> None:
    told = till.ask()
    assert (told.passages, told.to_embed, told.tokens, told.tokens_estimated) == (10, 10, 50, False)
    assert (told.cost.dollars, told.cost.batch_dollars, told.cost.prices_as_of) == (0.05, 0.025, None)
    assert told.basis == "a limit of 1,000,000 tokens a minute"
    assert till.model.asked == []
