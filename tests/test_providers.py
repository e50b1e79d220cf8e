"""Is what an API needs read from where it may lie, and never shown?"""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from indexer.config import CollectionSettings, Settings, load
from indexer.errors import ConfigurationError
from indexer.providers import ModelSettings, shown

KEY = "sk-not-to-be-seen-anywhere"
URL = "https://user:secret@api.example.org/v1/"


def written(folder: Path, text: str) -> Path:
    path = folder / "parecido.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_key_comes_from_the_environment_and_shows_nowhere() -> None:
    settings = load(None, {"OPENAI_API_KEY": f" {KEY}\n"})
    key = settings.providers.openai.api_key
    assert key is not None
    assert key.get_secret_value() == KEY
    assert KEY not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
    assert load(None, {"OPENAI_API_KEY": " "}).providers.openai.api_key is None


@pytest.mark.parametrize("name", ["api_key", "openai_api_key", "key"])
def test_a_key_in_the_file_is_refused_without_being_quoted(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, f'[openai]\n{name} = "{KEY}"\n')
    with pytest.raises(ConfigurationError, match="set OPENAI_API_KEY in the environment") as refused:
        load(path, {})
    assert KEY not in str(refused.value)


def test_the_address_is_openais_that_of_the_file_or_that_of_the_environment_in_this_order(tmp_path: Path) -> None:
    assert load(None, {}).providers.openai.base_url == "https://api.openai.com/v1"
    path = written(tmp_path, '[openai]\nbase_url = "http://localhost:1234/v1"\nin_flight = 3\n')
    assert load(path, {}).providers.openai.base_url == "http://localhost:1234/v1"
    openai = load(path, {"OPENAI_BASE_URL": "http://127.0.0.1:4321/v1"}).providers.openai
    assert (openai.base_url, openai.in_flight) == ("http://127.0.0.1:4321/v1", 3)


@pytest.mark.parametrize("url", ["localhost:1234", "ftp://somewhere/v1", "http://", "http://[half/v1", "http://a:b/v1"])
def test_an_address_that_is_none_is_a_mistake_of_the_configuration(url: str) -> None:
    with pytest.raises(ConfigurationError, match="OPENAI_BASE_URL is the address of an API"):
        load(None, {"OPENAI_BASE_URL": url})


def test_an_address_is_shown_and_compared_without_its_password_and_its_last_slash() -> None:
    assert shown(URL) == shown("https://api.example.org/v1") == "https://api.example.org/v1"


def test_a_password_in_the_address_shows_nowhere() -> None:
    settings = load(None, {"OPENAI_BASE_URL": URL})
    assert "secret" not in repr(settings)


def test_models_that_are_not_known_are_described_in_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, '[models."openai:ours"]\nwindow = 512\nprice_per_million = 0.5\n')
    providers = load(path, {}).providers
    assert providers.of("openai:ours").window == 512
    assert str(providers.of("openai:ours").price_per_million) == "0.5"
    assert providers.of("openai:another") == ModelSettings()
    for bad in ("price_per_million = -1", "price_per_million = inf", "window = 0", "dimension = 0", "color = 1"):
        with pytest.raises(ConfigurationError, match="openai:ours"):
            load(written(tmp_path, f'[models."openai:ours"]\n{bad}\n'), {})


def test_vocabularies_are_where_tiktoken_keeps_them() -> None:
    assert load(None, {"TIKTOKEN_CACHE_DIR": "/a", "DATA_GYM_CACHE_DIR": "/b"}).providers.vocabularies == Path("/a")
    assert load(None, {"DATA_GYM_CACHE_DIR": "/b"}).providers.vocabularies == Path("/b")
    assert load(None, {}).providers.vocabularies == Path(tempfile.gettempdir()) / "data-gym-cache"


@pytest.mark.parametrize(
    "bad", [{"max_cost": -1}, {"dimensions": 0}, {"mode": "slow"}, {"space": ""}, {"space": "a://b"}]
)
def test_a_collections_own_settings_are_checked(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        CollectionSettings.model_validate({"source": "a.jsonl", **bad})
    assert Settings().providers.openai.api_key is None
