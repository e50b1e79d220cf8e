"""Which item does a row stand for?

The settings say which field is the id, what is embedded and what is kept beside it. A row that is no item is rejected
with the reason, and with its id wherever that could be read: then the item's old version is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from indexer.config import CollectionSettings
from indexer.errors import ConfigurationError
from indexer.items import Item, Place, Rejected
from indexer.sources.row import Row, Source, usable_id
from indexer.sources.schema import SchemaInference
from indexer.sources.text import TextRecipe, make_text, plan_text

RESERVED = "id"


@dataclass(frozen=True, slots=True)
class _Plan:
    """What the settings make of a row's fields."""

    id: str
    text: TextRecipe
    metadata: tuple[str, ...] | None
    used: frozenset[str]
    """The fields that are not metadata where none is listed."""


def read_items(
    source: Source, settings: CollectionSettings, schema: SchemaInference
) -> Iterator[tuple[Item, Place] | Rejected]:
    """The items of a source and where each was read, and the rows that cannot become one, in the source's order.

    Settings that cannot be followed raise ConfigurationError at once, before the first row is asked for; SourceError
    comes while reading. `schema` learns the types of the fields as the items go by.
    """
    return _items(source, _plan(source, settings), schema)


def _plan(source: Source, settings: CollectionSettings) -> _Plan:
    id, text = settings.id or source.default_id, plan_text(settings.text)
    if settings.metadata is not None and RESERVED in settings.metadata:
        raise ConfigurationError(
            f"A metadata field cannot be named {RESERVED!r}, because that is the item's own: leave it out of "
            "`metadata`, or rename it in the source.",
            param="metadata",
        )
    return _Plan(id, text, settings.metadata, frozenset((id, *text.fields)))


def _items(source: Source, plan: _Plan, schema: SchemaInference) -> Iterator[tuple[Item, Place] | Rejected]:
    for row in source.rows():
        yield row if isinstance(row, Rejected) else _item(row, plan, schema, textual=source.textual)


def _item(row: Row, plan: _Plan, schema: SchemaInference, *, textual: bool) -> tuple[Item, Place] | Rejected:
    id = None
    try:
        id = _id(row.fields, plan.id)
        text = make_text(plan.text, row.fields)
        metadata = schema.fit(_metadata(row.fields, plan), textual=textual)
    except ValueError as error:
        return Rejected(row.place, str(error), id)
    return Item(id, text, metadata), row.place


def _id(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if value is None:
        raise ValueError(f"field {name!r} is missing, so the row has no id")
    try:
        return usable_id(value)
    except ValueError as error:
        raise ValueError(f"field {name!r}: {error}") from error


def _metadata(fields: Mapping[str, Any], plan: _Plan) -> dict[str, Any]:
    if plan.metadata is not None:
        return {name: fields.get(name) for name in plan.metadata}
    metadata = {name: value for name, value in fields.items() if name not in plan.used}
    if metadata.pop(RESERVED, None) is not None:
        raise ValueError(
            f"a metadata field is named {RESERVED!r}, which is the item's own: list the `metadata` fields that are "
            "wanted, or rename it"
        )
    return metadata
