"""Which rows does a query of a database give?

One SELECT a database, read through a cursor that the server keeps, so that no more than a few rows are in memory, in a
transaction that is rolled back. What the database says becomes a SourceError without the password of its URL. Rows are
counted from 1; a query in which one id may come twice needs ORDER BY for the first to stay the first.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

from indexer.addresses import conceal, is_url, masked
from indexer.errors import ConfigurationError, SourceError
from indexer.items import Place, Rejected
from indexer.sources.row import Row, is_unicode, known_id
from indexer.sources.values import plain

if TYPE_CHECKING:
    from sqlalchemy import Connection, CursorResult, Engine

BATCH_ROWS = 256


@dataclass(frozen=True, slots=True)
class Database:
    """The rows of one query, of one database after the other."""

    urls: tuple[str, ...] = field(repr=False)
    query: str
    id_field: str
    """The field in which the id of a row with an unreadable value is looked for."""

    textual: ClassVar[bool] = False
    default_id: ClassVar[str] = "id"

    def rows(self) -> Iterator[Row | Rejected]:
        """Every row of every database.

        Raises ConfigurationError for a driver that is not installed, and SourceError where a database cannot be
        reached, refuses the query, or is lost before the last row.
        """
        for url in self.urls:
            yield from _rows(url, self.query, self.id_field)


def open_database(urls: tuple[str, ...], query: str | None, id_field: str | None) -> Database:
    """The databases that the settings name; none is reached yet. Raises ConfigurationError."""
    for url in urls:
        if not is_url(url):
            raise ConfigurationError(
                f"{url!r} is no URL of a database: write one such as postgresql://user@host/name or sqlite:///file.db.",
                param="source",
            )
        _engine(url)
    if query is None or not query.strip():
        raise ConfigurationError(
            f"{masked(urls[0])!r} is a database: say with `query` which rows it gives, by a SELECT.",
            param="query",
        )
    return Database(urls, query, id_field or Database.default_id)


def _rows(url: str, query: str, id_field: str) -> Iterator[Row | Rejected]:

    name, number = masked(url), 1
    with _connect(url) as connection, contextlib.closing(_ask(connection, query, url)) as result:
        names = _names(result, name)
        try:
            for cells in result:
                yield _row(dict(zip(names, cells, strict=True)), Place(name, number), id_field)
                number += 1
        except (_errors(), OSError, ValueError) as error:
            raise SourceError(
                f"{name!r} cannot be read to its end: at row {number} or soon after: {_cause(error, url)}. Nothing is "
                "published from a part of a source: run again when the query gives all its rows.",
                param="source",
            ) from error


def _errors() -> type[Exception]:
    """What SQLAlchemy makes of whatever a driver raises."""
    from sqlalchemy.exc import SQLAlchemyError

    return SQLAlchemyError


def _engine(url: str) -> Engine:
    try:
        import sqlalchemy
        from sqlalchemy.exc import ArgumentError, NoSuchModuleError
    except ImportError as error:
        raise ConfigurationError(
            f"{masked(url)!r} is a database, which needs SQLAlchemy: run pip install 'parecido[sql]'.", param="source"
        ) from error
    try:
        parsed = sqlalchemy.make_url(url)
        if parsed.drivername in ("postgres", "postgresql"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        engine = sqlalchemy.create_engine(parsed, poolclass=sqlalchemy.NullPool)
    except (ImportError, NoSuchModuleError) as error:
        raise ConfigurationError(
            f"{masked(url)!r} needs a driver that is not installed ({_first_line(error)}): install it, or name another "
            "one behind the + of the URL; pip install 'parecido[sql]' brings that of PostgreSQL.",
            param="source",
        ) from error
    except (ArgumentError, ValueError) as error:
        raise ConfigurationError(
            f"{masked(url)!r} cannot be read as a URL: write driver://user:password@host:port/name with special "
            "characters percent-encoded.",
            param="source",
        ) from error
    if engine.dialect.is_async:
        raise ConfigurationError(
            f"{masked(url)!r} names an asynchronous driver: name another one behind the + of the URL.", param="source"
        )
    return engine


def _connect(url: str) -> Connection:
    engine = _engine(url)
    sqlite = engine.dialect.name == "sqlite"
    if sqlite:
        _check_there(engine)
    try:
        connection = engine.connect()
    except (_errors(), OSError, TypeError, ValueError) as error:
        raise SourceError(
            f"{masked(url)!r} cannot be reached: {_cause(error, url)}. Nothing is published from this source: correct "
            "host, port, user and password of `source`, or run again when the database is up.",
            param="source",
        ) from error
    if sqlite:
        # By default one text that is not UTF-8 ends the whole reading.
        driver: Any = connection.connection.driver_connection
        driver.text_factory = _decode
    return connection


def _check_there(engine: Engine) -> None:
    """SQLite makes a file that is not there, and an empty database is no source."""
    path = engine.url.database
    if path and path != ":memory:" and not path.startswith("file:") and not os.path.isfile(path):
        raise SourceError(
            f"There is no database file {path!r}: correct `source`, or put the file there.", param="source"
        )


def _decode(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")


def _ask(connection: Connection, query: str, url: str) -> CursorResult[Any]:
    options: dict[str, Any] = {"stream_results": True, "yield_per": BATCH_ROWS, "no_parameters": True}
    if connection.dialect.name == "postgresql":
        options["postgresql_readonly"] = True
    try:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA query_only = ON")
        return connection.execution_options(**options).exec_driver_sql(query)
    except _errors() as error:
        raise SourceError(
            f"{masked(url)!r} refuses the query: {_cause(error, url)}. Nothing is published from this source: correct "
            "`query`, or `source` if that is another database, and run again.",
            param="query",
        ) from error


def _names(result: CursorResult[Any], name: str) -> list[str]:
    if not result.returns_rows:
        raise SourceError(f"The query of {name!r} gives no rows: make it a SELECT.", param="query")
    names = list(result.keys())
    if repeated := [column for column, count in Counter(names).items() if count > 1]:
        raise SourceError(
            f"The query of {name!r} gives more than one column {repeated[0]!r}: name all but one differently with AS.",
            param="query",
        )
    return names


def _row(fields: dict[str, Any], place: Place, id_field: str) -> Row | Rejected:
    for name, value in fields.items():
        try:
            fields[name] = _value(value)
        except OverflowError:
            reason = f"field {name!r} holds a time that in UTC is not in the years 1 to 9999"
            return Rejected(place, reason, known_id(fields.get(id_field)))
        if isinstance(value, str) and not is_unicode(value):
            return Rejected(place, f"field {name!r} is not UTF-8", known_id(fields.get(id_field)))
    return Row(fields, place)


def _value(value: Any) -> Any:
    """A cell as items know it; a whole number stays one, because it may be an id."""
    if isinstance(value, list | tuple):
        return [_value(element) for element in value]
    if isinstance(value, memoryview | bytearray):
        return bytes(value)
    if isinstance(value, Decimal) and value.as_tuple().exponent == 0:
        return int(value)
    return plain(value)


def _cause(error: Exception, url: str) -> str:
    """What the database says, in one line, without the secrets of the URL."""
    return conceal(_first_line(getattr(error, "orig", None) or error), url)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].strip().rstrip(".:") if lines else type(error).__name__
