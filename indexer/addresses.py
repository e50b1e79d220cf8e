"""What does `source` point at, and how is it named without its secrets?

A source is a path, or a URL of a database or of a file elsewhere. A URL may hold a password, written out or as ${NAME}
for an environment variable: whatever a person or a log is shown of a source goes through `masked` first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, unquote

DATABASES = frozenset({"sqlite", "postgresql", "postgres", "mysql", "mariadb", "oracle", "mssql"})
"""The schemes, without a driver, that tell a database by themselves."""

MASK = "***"

_SECRET_KEYS = ("pass", "secret", "token", "key")

_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9.-]*)(?:\+[\w.-]+)?://(?P<rest>.*)", re.DOTALL | re.IGNORECASE)
_URL_IN_TEXT = re.compile(r"[a-z][a-z0-9+.-]*://[^\s'\"]*", re.IGNORECASE)
# A password may hold a slash that should have been %2F: rather mask too much than a part of it.
_USERINFO = re.compile(r"[^/]*@|[^/@:]*:(?!\d+/)[^@]*@")
# Where the @ was forgotten, a password stands in the place of the port.
_NO_PORT = re.compile(r"^([^/:\[]*):(?!\d*(?:/|$))[^/]*")
_DATABASE_USERINFO = re.compile(r"[^/].*@", re.DOTALL)
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_RELATIVE_SQLITE = re.compile(r"(sqlite(?:\+\w+)?:///)(?!/|:memory:|file:)([^?]+)(.*)", re.DOTALL)


def is_url(source: str) -> bool:
    """Whether a source is a URL and not a path."""
    return _URL.fullmatch(source) is not None


def scheme_of(source: str) -> str:
    """The scheme of a URL in lower case, without the driver that a database's may name; nothing for a path."""
    url = _URL.fullmatch(source)
    return url["scheme"].lower() if url else ""


def is_database(source: str) -> bool:
    """Whether a source is by its scheme a URL of a database."""
    return scheme_of(source) in DATABASES


def masked(source: str) -> str:
    """A source as it may be shown: a URL without password and query, a path as it is."""
    url = _URL.fullmatch(source)
    if url is None:
        return source
    userinfo = _userinfo(source)
    begin = url.start("rest") + len(userinfo)
    rest, query, _ = source[begin:].partition("?" if _has_query(source) else "\0")
    user, rest = _shown(userinfo, is_database(source)), _NO_PORT.sub(rf"\1:{MASK}", rest)
    return source[: url.start("rest")] + user + rest + (f"?{MASK}" if query else "")


def _shown(userinfo: str, database: bool) -> str:
    """A user by name where it is a database's, who is no secret there; elsewhere it may be a token."""
    user, colon, _ = userinfo.partition(":")
    if database:
        return f"{user}:{MASK}@" if colon else user
    return f"{MASK}@" if userinfo else ""


def masked_within(text: str) -> str:
    """A text with every URL in it as it may be shown."""
    return _URL_IN_TEXT.sub(lambda url: masked(url[0]), text)


def conceal(text: str, source: str) -> str:
    """What somebody else says of a source, without what the source hides, however it is quoted there."""
    for secret in sorted(_secrets(source), key=len, reverse=True):
        text = text.replace(secret, MASK)
    return masked_within(text)


def expand(source: str, environment: Mapping[str, str]) -> str:
    """The source with the value of each environment variable in the place of its ${NAME}; unset ones stay.

    In the user, the password and the query of a URL the value is percent-encoded, so that it can hold any character.
    """
    begin = source.find("://") + 3 if is_url(source) else len(source)
    end = begin + len(_userinfo(source))
    query = source.find("?", end) if _has_query(source) else -1

    def value(variable: re.Match[str]) -> str:
        found = environment.get(variable[1], variable[0])
        within = begin <= variable.start() < end or 0 <= query < variable.start()
        return quote(found, safe="") if within and variable[1] in environment else found

    return _VARIABLE.sub(value, source)


def unset_variable(source: str) -> str | None:
    """The first environment variable that a source names and that has not been expanded."""
    variable = _VARIABLE.search(source)
    return variable[1] if variable else None


def anchored(source: str, base: Path) -> str:
    """The source with a relative path taken from the folder `base`: a file's, or that of an SQLite database."""
    if not is_url(source):
        return str(base / source)
    return _RELATIVE_SQLITE.sub(lambda url: f"{url[1]}{base / url[2]}{url[3]}", source)


def _secrets(source: str) -> set[str]:
    userinfo = _userinfo(source).removesuffix("@")
    user, _, password = userinfo.partition(":")
    secrets = {password} if is_database(source) else {userinfo, user, password}
    query = source.partition("?")[2] if _has_query(source) else ""
    for pair in filter(None, query.split("&")):
        key, _, value = pair.partition("=")
        if not is_database(source) or any(word in key.lower() for word in _SECRET_KEYS):
            secrets.add(value)
    secrets |= {unquote(secret) for secret in secrets}
    return secrets - {""}


def _userinfo(source: str) -> str:
    """The user and the password of a URL with the @ behind them, or nothing."""
    url = _URL.fullmatch(source)
    found = url and (_DATABASE_USERINFO if is_database(source) else _USERINFO).match(url["rest"])
    return found[0] if found else ""


def _has_query(source: str) -> bool:
    """Whether ? begins a query, which may hold a token, and is not a wildcard."""
    return is_database(source) or scheme_of(source) in ("http", "https")
