"""Is what a source hides never shown, and what it asks of the environment put in?"""

from __future__ import annotations

from pathlib import Path

import pytest

from indexer.addresses import (
    anchored,
    conceal,
    expand,
    is_database,
    is_url,
    masked,
    masked_within,
    scheme_of,
    unset_variable,
)
from indexer.config import CollectionSettings, Settings, chosen, collection_settings, load
from indexer.errors import ConfigurationError

URL = "postgresql://me:secret@host/db"


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("a/b.jsonl", "a/b.jsonl"),
        ("me:secret@host/x", "me:secret@host/x"),
        ("sqlite:///a@b.db", "sqlite:///a@b.db"),
        ("sqlite:////x/a.db?key=secret", "sqlite:////x/a.db?***"),
        ("postgresql://host/db", "postgresql://host/db"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("postgresql+psycopg://me:secret@host:5432/db", "postgresql+psycopg://me:***@host:5432/db"),
        ("postgresql://me:sec/ret@x:secret@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:secret?secret@host/db?password=secret", "postgresql://me:***@host/db?***"),
        ("POSTGRESQL://me:secret@host/db", "POSTGRESQL://me:***@host/db"),
        ("postgresql://me:secret/db", "postgresql://me:***/db"),
        ("postgresql://me@[::1]:5432/db", "postgresql://me@[::1]:5432/db"),
        ("https://host:8080/a:b.csv", "https://host:8080/a:b.csv"),
        ("https://secret@host/a.csv", "https://***@host/a.csv"),
        ("https://me:secret@host/a@b.csv?token=secret", "https://***@host/a@b.csv?***"),
        ("https://me:sec/ret@host/a.csv", "https://***@host/a.csv"),
        ("s3://secret:secret@bucket/a-?.csv", "s3://***@bucket/a-?.csv"),
    ],
)
def test_a_source_is_shown_without_its_secrets(source: str, shown: str) -> None:
    assert masked(source) == shown
    assert masked(shown) == shown


def test_urls_within_a_text_are_shown_without_their_secrets() -> None:
    assert masked_within(f"cannot open '{URL}' nor https://x.org/a?b=secret, really") == (
        "cannot open 'postgresql://me:***@host/db' nor https://x.org/a?*** really"
    )


@pytest.mark.parametrize(
    ("source", "said", "shown"),
    [
        (URL, 'no "secret" for me in db', 'no "***" for me in db'),
        ("postgresql://me:p%40ss@h/d", "p%40ss is p@ss", "*** is ***"),
        ("postgresql://me@h/d?password=p%40ss&host=/tmp/x", "p@ss at /tmp/x", "*** at /tmp/x"),
        ("s3://key:secret@bucket/a", 'invalid bucket name "key:secret@bucket"', 'invalid bucket name "***@bucket"'),
        ("https://h/a.csv?sig=a%2Fb&x=", "403 of /a.csv?sig=a/b", "403 of /a.csv?sig=***"),
        ("https://h/a.csv?sig=a%2Fb", "403 of https://h/a.csv?sig=a%2Fb", "403 of https://h/a.csv?***"),
        ("a.csv", "secret", "secret"),
    ],
)
def test_what_is_said_of_a_source_is_shown_without_its_secrets(source: str, said: str, shown: str) -> None:
    assert conceal(said, source) == shown


@pytest.mark.parametrize(
    ("source", "scheme", "database"),
    [
        ("a.csv", "", False),
        ("C:/a.csv", "", False),
        ("S3://b/a.csv", "s3", False),
        ("postgresql+asyncpg://h/d", "postgresql", True),
        ("sqlite://", "sqlite", True),
        ("https://h/a", "https", False),
    ],
)
def test_the_scheme_tells_what_a_source_is(source: str, scheme: str, database: bool) -> None:
    assert (scheme_of(source), is_database(source), is_url(source)) == (scheme, database, bool(scheme))


def test_a_variable_is_the_value_of_the_environment_and_percent_encoded_where_it_is_a_secret() -> None:
    environment = {"USER": "m e", "PW": "p@s/s?&:%", "HOST": "h:1", "DIR": "/a/b", "URL": URL}
    assert expand("postgresql://${USER}:${PW}@${HOST}/db", environment) == (
        "postgresql://m%20e:p%40s%2Fs%3F%26%3A%25@h:1/db"
    )
    assert expand("https://h${DIR}/x?token=${PW}", environment) == "https://h/a/b/x?token=p%40s%2Fs%3F%26%3A%25"
    assert expand("${DIR}/*.jsonl", environment) == "/a/b/*.jsonl"
    assert expand("sqlite:///${DIR}/x.db", environment) == "sqlite:////a/b/x.db"
    assert expand("s3://bucket/${DIR}/a-?.csv", environment) == "s3://bucket//a/b/a-?.csv"
    assert expand("${URL}", environment) == URL
    assert expand("$DIR ${1} ${A-B} {DIR}", environment) == "$DIR ${1} ${A-B} {DIR}"


def test_an_unset_variable_stays_and_is_told() -> None:
    assert expand("s3://${A}/${B}", {"A": "x"}) == "s3://x/${B}"
    assert (unset_variable("s3://x/${B}"), unset_variable("s3://x/$B")) == ("B", None)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a/*.csv", "/base/a/*.csv"),
        ("/a.csv", "/a.csv"),
        ("s3://b/a.csv", "s3://b/a.csv"),
        ("sqlite:///a.db", "sqlite:////base/a.db"),
        ("sqlite+pysqlite:///d/a.db?timeout=1", "sqlite+pysqlite:////base/d/a.db?timeout=1"),
        ("sqlite:////a.db", "sqlite:////a.db"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("sqlite:///file:a.db?mode=ro&uri=true", "sqlite:///file:a.db?mode=ro&uri=true"),
        ("sqlite://", "sqlite://"),
        ("postgresql:///a", "postgresql:///a"),
    ],
)
def test_relative_paths_are_taken_from_the_folder(source: str, expected: str) -> None:
    assert anchored(source, Path("/base")) == expected


def write_config(folder: Path, text: str) -> Path:
    path = folder / "parecido.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_configuration_takes_its_sources_from_the_environment_and_its_own_folder(tmp_path: Path) -> None:
    config = write_config(
        tmp_path,
        '[collections.a]\nsource = ["sqlite:///a.db", "b.jsonl", "${DATA}/c.jsonl"]\n'
        '[collections.b]\nsource = "postgresql://me:${PW}@h/db"\n',
    )
    settings = load(config, {"DATA": "/data", "PW": "x/y"})
    assert settings.collections["a"].source == (
        f"sqlite:///{tmp_path}/a.db",
        f"{tmp_path}/b.jsonl",
        "/data/c.jsonl",
    )
    assert settings.collections["b"].source == ("postgresql://me:x%2Fy@h/db",)


def test_only_a_collection_that_is_asked_for_needs_its_variables(tmp_path: Path) -> None:
    config = write_config(
        tmp_path, '[collections.a]\nsource = "a.csv"\n[collections.b]\nsource = "postgresql://me:${NOT_SET}@h/db"\n'
    )
    settings = load(config, {})
    assert list(chosen(settings, ("a",), None, {}, {})) == ["a"]
    with pytest.raises(ConfigurationError) as error:
        chosen(settings, ("b",), None, {}, {})
    assert "variable 'NOT_SET', which is not set: export it" in error.value.message
    assert error.value.param == "source"


def test_a_source_of_the_command_line_takes_variables_too() -> None:
    found = chosen(Settings(), ("https://h/a.csv?token=${T}",), "a", {}, {"T": "a b"})
    assert found["a"].source == ("https://h/a.csv?token=a%20b",)


def test_no_repr_shows_a_password() -> None:
    settings = CollectionSettings(source=(URL, "a.csv"))
    for shown in (repr(settings), str(settings), repr(Settings(collections={"a": settings}))):
        assert "secret" not in shown
        assert "postgresql://me:***@host/db" in shown
    assert settings.source == (URL, "a.csv")


@pytest.mark.parametrize(
    "values", [{"sorce": URL}, {"source": {"url": URL}}, {"source": [3, URL]}, {"source": URL, "id": [URL]}]
)
def test_a_wrong_setting_is_told_without_the_password(values: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError) as error:
        collection_settings(values, "Collection 'a'")
    assert "secret" not in error.value.message


def test_a_url_in_the_place_of_a_collection_is_told_without_the_password(tmp_path: Path) -> None:
    settings = load(write_config(tmp_path, '[collections.a]\nsource = "a.csv"\n'), {})
    with pytest.raises(ConfigurationError) as error:
        chosen(settings, (URL,), None, {})
    assert "'postgresql://me:***@host/db'; it has a" in error.value.message
