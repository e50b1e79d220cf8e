"""How does a person spell a filter?

    {"price": {"$gte": 5, "$lt": 20}, "section": {"$in": ["a", "b"]}, "$not": {"title": {"$contains": "draft"}}}

An object is the *and* of its entries, of which each is a field with its operators, or one of `$and`, `$or` (a list of
filters) and `$not` (one filter). `{}` matches every item.

    {"section": "a"}, {"section": {"$eq": "a"}}     equal; $ne: not equal
    $gt  $gte  $lt  $lte                            numbers, date-times, strings (by code point)
    $in  $nin                                       equal to one of a list, to none of it
    $exists                                         true: the item has the field; false: it has not
    $contains                                       a string with this text in it; a list with this element
    $prefix                                         a string that starts with this text
    {"price": {"$not": {"$lt": 20}}}                the negation of operators

- A list of strings equals a string that is one of its elements.
- null stands for a missing field: `{"section": null}` matches where it is missing, `{"section": {"$ne": null}}` where
  it is not, and null is allowed among the values of `$in` and `$nin`.
- Date-times are ISO 8601 strings; one without a zone is in UTC.
- `id` is the item's own id, a string that is never missing. A field whose name begins with $ cannot be asked for.
"""

from __future__ import annotations

from indexer.errors import InvalidFilter
from indexer.filters.conditions import OPERATORS, Conditions, check_depth, shown, shown_key
from indexer.filters.tree import And, Filter, Not, Or
from indexer.items import Schema


def parse(value: object, schema: Schema) -> Filter:
    """The filter that a decoded JSON value spells.

    Raises InvalidFilter, whose `param` is the path to what is wrong, such as `filter.$or[1].price.$lt`: for an unknown
    field or operator, a value that the field cannot be compared with, a wrong structure, or too much of it.
    """
    return _filter(value, Conditions(schema, sign="$"), "filter", depth=1)


def _filter(value: object, conditions: Conditions, param: str, depth: int) -> Filter:
    check_depth(depth, param)
    if not isinstance(value, dict):
        message = f'A filter is an object such as {{"price": {{"$lt": 20}}}}, not {shown(value)}.'
        raise InvalidFilter(message, param=param)
    if not value:
        conditions.tally(param)
    return _all([_entry(key, operand, conditions, param, depth) for key, operand in value.items()])


def _entry(key: object, operand: object, conditions: Conditions, param: str, depth: int) -> Filter:
    name = _name(key, param)
    path = _join(param, name)
    if name == "$and":
        return And(_several(name, operand, conditions, path, depth + 1))
    if name == "$or":
        return Or(_several(name, operand, conditions, path, depth + 1))
    if name == "$not":
        return Not(_filter(operand, conditions, path, depth + 1))
    if name.startswith("$"):
        raise InvalidFilter(_misplaced(name), param=path)
    conditions.type_of(name, path)
    if isinstance(operand, dict):
        return _operators(name, operand, conditions, path, depth)
    return conditions.add(name, "eq", operand, path)


def _several(name: str, value: object, conditions: Conditions, param: str, depth: int) -> tuple[Filter, ...]:
    if not isinstance(value, list) or not value:
        given = "an empty one" if isinstance(value, list) else shown(value)
        raise InvalidFilter(f"{name} needs a list of one or more filters, not {given}.", param=param)
    return tuple(_filter(part, conditions, f"{param}[{place}]", depth) for place, part in enumerate(value))


def _operators(field: str, value: object, conditions: Conditions, param: str, depth: int) -> Filter:
    check_depth(depth, param)
    if not isinstance(value, dict) or not value:
        given = "an empty one" if isinstance(value, dict) else shown(value)
        message = f'Operators of field {field!r} are an object such as {{"$eq": …}}, not {given}.'
        raise InvalidFilter(message, param=param)
    return _all([_operator(field, key, operand, conditions, param, depth) for key, operand in value.items()])


def _operator(field: str, key: object, operand: object, conditions: Conditions, param: str, depth: int) -> Filter:
    name = _name(key, param)
    path = _join(param, name)
    if name == "$not":
        return Not(_operators(field, operand, conditions, path, depth + 1))
    if not name.startswith("$") or name[1:] not in OPERATORS:
        known = conditions.signed((*OPERATORS, "not"))
        message = f"Unknown operator {shown_key(name)} on field {field!r}; the operators are {known}."
        raise InvalidFilter(message, param=path)
    return conditions.add(field, name[1:], operand, path)


def _misplaced(name: str) -> str:
    if name[1:] in OPERATORS:
        return f'{name} is asked of a field; write {{"<field>": {{"{name}": …}}}}.'
    return f"Unknown operator {shown_key(name)}; filters are combined by $and, $or, $not, and any other key is a field."


def _name(key: object, param: str) -> str:
    if not isinstance(key, str):
        raise InvalidFilter(f"A filter's keys are strings, not {shown(key)}.", param=param)
    return key


def _join(param: str, name: str) -> str:
    # The path goes into a JSON answer, so it is kept short and encodable.
    short = name if len(name) <= 80 else name[:79] + "…"
    return f"{param}.{short}".encode(errors="backslashreplace").decode()


def _all(parts: list[Filter]) -> Filter:
    return parts[0] if len(parts) == 1 else And(tuple(parts))
