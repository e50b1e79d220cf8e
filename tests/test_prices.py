"""Is what a model costs said exactly, and never as 0 where nobody knows?"""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.config import load
from indexer.errors import ConfigurationError
from indexer.prices import NOTHING, OLD_AFTER_DAYS, Price, cost, dollars, price_list, price_of, warn_if_old
from indexer.providers import ModelSettings

SMALL = "openai:text-embedding-3-small"
ONE = Price(Decimal(1), Decimal("0.5"), None)


@pytest.mark.parametrize(
    ("model", "normal", "batch"),
    [
        ("text-embedding-3-small", "20000000", "10000000"),
        ("text-embedding-3-large", "130000000", "65000000"),
        ("text-embedding-ada-002", "100000000", "50000000"),
    ],
)
def test_a_million_tokens_of_openai_cost_what_it_says_and_half_of_it_in_a_batch(
    model: str, normal: str, batch: str
) -> None:
    price = price_of(f"openai:{model}", "openai", {})
    assert price is not None
    assert (cost(1_000_000, price), cost(1_000_000, price, "batch")) == (int(normal), int(batch))
    assert price.as_of == price_list().as_of


def test_a_local_model_costs_nothing_and_an_unknown_one_nobody_knows_what() -> None:
    assert price_of("all-MiniLM-L6-v2", "sentence-transformers", {}) == NOTHING
    assert cost(10**12, NOTHING) == 0
    assert price_of("openai:nomic-embed-text", "openai", {}) is None
    assert price_of("text-embedding-3-small", "another", {}) is None
    assert price_of("openai:nomic-embed-text", "openai", {"openai:nomic-embed-text": ModelSettings(window=100)}) is None


def test_the_configuration_has_the_last_word_on_a_price(tmp_path: Path) -> None:
    (tmp_path / "parecido.toml").write_text(
        f'[models."{SMALL}"]\nprice_per_million = 0.07\n'
        '[models."openai:mine"]\nwindow = 512\ndimension = 768\nprice_per_million = 0\n'
        '[models."all-MiniLM-L6-v2"]\nprice_per_million = "1e-1"\nbatch_price_per_million = 3\n'
    )
    models = load(tmp_path / "parecido.toml", {}).models
    small, mine = price_of(SMALL, "openai", models), price_of("openai:mine", "openai", models)
    assert small == Price(Decimal("0.07"), Decimal("0.035"), None)
    assert mine == Price(Decimal(0), Decimal(0), None)
    assert (models["openai:mine"].window, models["openai:mine"].dimension) == (512, 768)
    local = price_of("all-MiniLM-L6-v2", "sentence-transformers", models)
    assert local == Price(Decimal("0.1"), Decimal(3), None)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("price_per_million = -1", "greater than or equal to 0"),
        ("price_per_million = nan", "finite"),
        ("price_per_million = inf", "finite"),
        ("price_per_million = true", "Decimal input should be"),
        ("price_per_million = 1_000_001", "less than or equal to 1000000"),
        ("batch_price_per_million = 1", "give price_per_million beside batch_price_per_million"),
        ("window = 0", "greater than or equal to 16"),
        ("dimension = 0", "greater than or equal to 1"),
        ("price = 1", "there is no setting 'models.openai:mine.price'"),
    ],
)
def test_a_setting_of_a_model_that_cannot_be_is_refused_by_name(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "parecido.toml").write_text(f'[models."openai:mine"]\n{line}\n')
    with pytest.raises(ConfigurationError, match=r"models\.openai:mine") as caught:
        load(tmp_path / "parecido.toml", {})
    assert said in caught.value.message


@given(st.integers(0, 10**12), st.decimals(0, 1_000_000, places=9))
def test_a_cost_is_exact_to_the_next_nano_dollar(tokens: int, price: Decimal) -> None:
    exact = int(price.scaleb(9)) * tokens  # of a nano-dollar's millionth
    assert cost(tokens, Price(price, price, None)) * 10**6 - exact in range(10**6)


def test_a_part_of_a_nano_dollar_is_a_whole_one() -> None:
    tiny = Price(Decimal("0.0000001"), Decimal(0), None)
    assert (cost(0, tiny), cost(1, tiny), cost(10_000, tiny), cost(10_001, tiny)) == (0, 1, 1, 2)


@pytest.mark.parametrize(
    ("nano", "shown"),
    [
        (0, "$0.00"),
        (1, "$0.000000001"),
        (2_100_000, "$0.0021"),
        (20_000_000, "$0.02"),
        (34_567_890, "$0.035"),
        (999_900_000, "$1.00"),
        (12_340_000_000, "$12.34"),
        (1_234_567_890_000_000, "$1,234,567.89"),
        (-500_000_000, "-$0.50"),
        (cost(1_445_560, Price(Decimal(8), Decimal(4), None)), "$11.56"),
        (4 * cost(1_445_560, Price(Decimal(8), Decimal(4), None)), "$46.26"),
    ],
)
def test_an_amount_is_shown_with_as_many_digits_as_say_something(nano: int, shown: str) -> None:
    assert dollars(nano) == shown


def test_prices_that_are_old_are_said_to_be_with_their_date_and_what_to_do() -> None:
    as_of = price_list().as_of
    assert as_of >= date(2026, 1, 1)
    assert warn_if_old(as_of) is None
    assert warn_if_old(as_of + timedelta(days=OLD_AFTER_DAYS)) is None
    assert warn_if_old(as_of - timedelta(days=1)) is None
    said = warn_if_old(as_of + timedelta(days=OLD_AFTER_DAYS + 1))
    assert said is not None
    assert str(as_of) in said
    assert f"{OLD_AFTER_DAYS + 1} days" in said
    assert "price_per_million" in said


def test_the_prices_are_in_what_is_installed(tmp_path: Path) -> None:
    root = Path(__file__).parent.parent
    for name in ("indexer", "service"):
        shutil.copytree(root / name, tmp_path / "tree" / name)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, tmp_path / "tree")
    options = ["-q", "--disable-pip-version-check", "--no-deps", "--no-build-isolation", "-w", str(tmp_path)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(tmp_path / "tree")], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        assert packed.read("indexer/prices.toml") == (root / "indexer" / "prices.toml").read_bytes()
