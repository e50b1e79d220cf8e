"""Does a filter mean the same to the columns as to a person who reads it row by row?

The judge is a second reading of the native spelling, in plain Python, without a tree or a column. It judges random
filters over random columns, whole or in pieces, and every pair of the numbers where integers and floats part ways.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.filters import evaluate, parse
from indexer.items import FieldType, Value, as_utc

Row = Mapping[str, Value]
Column = tuple[list[Value], pa.Array | pa.ChunkedArray]

ARROW = {
    FieldType.STRING: pa.string(),
    FieldType.INTEGER: pa.int64(),
    FieldType.FLOAT: pa.float64(),
    FieldType.BOOLEAN: pa.bool_(),
    FieldType.DATETIME: pa.timestamp("us", tz="UTC"),
    FieldType.STRINGS: pa.list_(pa.string()),
}
ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}


def judge(filter: dict[str, Any], row: Row) -> bool:
    return all(judge_entry(key, value, row) for key, value in filter.items())


def named(filter: dict[str, Any]) -> set[str]:
    """The fields that a filter names."""
    inner = {"$and", "$or", "$not"} & filter.keys()
    parts = [part for key in inner for part in (filter[key] if key != "$not" else [filter[key]])]
    return (filter.keys() - inner).union(*map(named, parts))


def judge_entry(key: str, value: Any, row: Row) -> bool:
    if key == "$and":
        return all(judge(part, row) for part in value)
    if key == "$or":
        return any(judge(part, row) for part in value)
    if key == "$not":
        return not judge(value, row)
    operators = value if isinstance(value, dict) else {"$eq": value}
    return all(judge_operator(name, operand, row.get(key)) for name, operand in operators.items())


def judge_operator(name: str, operand: Any, actual: Any) -> bool:
    match name:
        case "$not":
            return not all(judge_operator(inner, value, actual) for inner, value in operand.items())
        case "$ne":
            return not judge_operator("$eq", operand, actual)
        case "$in":
            return any(judge_operator("$eq", value, actual) for value in operand)
        case "$nin":
            return not judge_operator("$in", operand, actual)
        case "$exists":
            return bool((actual is not None) == operand)
    if actual is None or operand is None:
        return name == "$eq" and actual is operand
    if isinstance(actual, datetime):
        operand = as_utc(datetime.fromisoformat(operand))
    if name == "$contains" or (name == "$eq" and isinstance(actual, list)):
        return operand in actual
    if name == "$prefix":
        return bool(actual.startswith(operand))
    return bool(operand == actual) if name == "$eq" else ORDERS[name](actual, operand)


# ---- random schemas, rows and filters, from pools small enough for values to meet ----

NUMBERS = [-(10**400), -(2**63) - 1, -(2**63), -(2**53) - 1, -1, 0, 1, 2**53 - 1, 2**53, 2**53 + 1, 2**63 - 1, 2**63]
NUMBERS += [2**63 + 1, 2**64, 10**400]
FLOATS = [-1e308, -float(2**63), -2.5, -0.0, 5e-324, 0.5, 1.0, 2.5, float(2**53), float(2**53 + 2), float(2**63), 1e308]
MOMENTS = ["0001-01-01T00:00:00", "2026-01-31", "2026-01-31T00:00:00.000001Z", "2026-01-31T02:00:00+02:00"]
MOMENTS += ["2026-01-30T23:59:59.999999", "9999-12-31T23:59:59.999999+00:00"]

texts = st.sampled_from(["", "a", "A", "b", "ab", "aba", "é", "e\u0301", "\uffff", "\U00010000", "\0", "a\0"])
numbers = st.sampled_from([*NUMBERS, *FLOATS]) | st.integers(-3, 3)
operands: dict[FieldType, st.SearchStrategy[Any]] = {
    FieldType.STRING: texts,
    FieldType.INTEGER: numbers,
    FieldType.FLOAT: numbers,
    FieldType.BOOLEAN: st.booleans(),
    FieldType.DATETIME: st.sampled_from(MOMENTS),
    FieldType.STRINGS: texts,
}
integers = st.sampled_from([n for n in NUMBERS if -(2**63) <= n < 2**63]) | st.integers(-3, 3)
stored: dict[FieldType, st.SearchStrategy[Any]] = {
    FieldType.STRING: texts,
    FieldType.INTEGER: integers,
    FieldType.FLOAT: st.sampled_from([*FLOATS, float("inf"), -float("inf"), float("nan")]),
    FieldType.BOOLEAN: st.booleans(),
    FieldType.DATETIME: st.sampled_from(MOMENTS).map(lambda text: as_utc(datetime.fromisoformat(text))),
    FieldType.STRINGS: st.lists(texts, max_size=3),
}


def conditions(field: str, type_: FieldType) -> st.SearchStrategy[dict[str, Any]]:
    value = operands[type_]
    values = st.lists(value | st.none(), max_size=4)
    asked: dict[str, st.SearchStrategy[Any]] = {"$eq": value, "$ne": value | st.none(), "$in": values, "$nin": values}
    asked["$exists"] = st.booleans()
    if type_ not in (FieldType.BOOLEAN, FieldType.STRINGS):
        asked |= dict.fromkeys(ORDERS, value)
    if type_ in (FieldType.STRING, FieldType.STRINGS):
        asked["$contains"] = value
    if type_ is FieldType.STRING:
        asked["$prefix"] = value
    one = st.one_of([st.fixed_dictionaries({name: operand}) for name, operand in asked.items()])
    some = st.lists(one, min_size=1, max_size=2).map(
        lambda several: {k: v for each in several for k, v in each.items()}
    )
    negated = some.map(lambda inner: {"$not": inner})
    return st.fixed_dictionaries({field: value | st.none() | some | negated})


def filters(schema: Mapping[str, FieldType]) -> st.SearchStrategy[dict[str, Any]]:
    leaf: st.SearchStrategy[dict[str, Any]] = st.one_of(
        [conditions(field, type_) for field, type_ in schema.items()]
    ) | st.just({})
    several = st.lists(st.deferred(lambda: tree), min_size=1, max_size=3)
    combined = st.fixed_dictionaries({}, optional={"$and": several, "$or": several, "$not": st.deferred(lambda: tree)})
    tree: st.SearchStrategy[dict[str, Any]] = leaf | st.builds(operator.or_, leaf, combined)
    return tree


@st.composite
def columns(draw: st.DrawFn, type_: FieldType, count: int) -> tuple[list[Value], pa.Array | pa.ChunkedArray]:
    """Values and the same values as a column: in one piece or several, each cut from a longer array."""
    widened = type_ is FieldType.FLOAT and draw(st.booleans())
    value = integers if widened else stored[type_]
    arrow = pa.int64() if widened else ARROW[type_]
    junk = draw(st.lists(value | st.none(), max_size=2))
    values: list[Value] = draw(st.lists(st.none() | value, min_size=count, max_size=count) | st.just([None] * count))

    def piece(start: int, stop: int) -> pa.Array:
        return pa.array([*junk, *values[start:stop], *junk], arrow).slice(len(junk), stop - start)

    if draw(st.booleans()):
        return values, piece(0, count)
    cuts = sorted(draw(st.lists(st.integers(0, count), max_size=3)))
    pieces = [piece(start, stop) for start, stop in zip([0, *cuts], [*cuts, count], strict=True)]
    return values, pa.chunked_array(pieces if count else [], arrow)


def check(spelled: dict[str, Any], schema: Mapping[str, FieldType], table: Mapping[str, Column], count: int) -> None:
    """Assert that the columns and the judge agree, and that only the columns that the spelling names were asked for."""
    asked = []

    def column(field: str) -> pa.Array | pa.ChunkedArray:
        asked.append(field)
        return table[field][1]

    tree = parse(spelled, schema)
    mask = evaluate(tree, column, count)
    rows = [{field: values[row] for field, (values, _) in table.items()} for row in range(count)]
    assert mask.dtype == np.bool_
    assert mask.tolist() == [judge(spelled, row) for row in rows]
    assert set(asked) == named(spelled)


@given(st.data())
@settings(max_examples=200)
def test_a_filter_lets_through_what_its_spelling_says_row_by_row(data: st.DataObject) -> None:
    names = st.text(max_size=3).filter(lambda name: name != "id" and not name.startswith("$"))
    schema = data.draw(st.dictionaries(names, st.sampled_from(FieldType), max_size=4))
    count = data.draw(st.integers(0, 8))
    table = {field: data.draw(columns(type_, count)) for field, type_ in schema.items()}
    ids = data.draw(st.lists(texts, min_size=count, max_size=count))
    table["id"] = (list[Value](ids), pa.array(ids, pa.string()))
    check(data.draw(filters(schema | {"id": FieldType.STRING})), schema, table, count)


@pytest.mark.parametrize("type_", FieldType)
@given(st.data())
@settings(max_examples=150)
def test_a_condition_on_a_field_of_each_type_is_judged_alike(type_: FieldType, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 5))
    table = {"field": data.draw(columns(type_, count))}
    check(data.draw(conditions("field", type_)), {"field": type_}, table, count)


@pytest.mark.parametrize("name", ["$eq", *ORDERS])
@pytest.mark.parametrize("column", ["whole", "broken"])
def test_numbers_are_compared_exactly_where_integers_and_floats_part_ways(name: str, column: str) -> None:
    whole: list[Value] = [n for n in NUMBERS if -(2**63) <= n < 2**63]
    broken: list[Value] = [*FLOATS, float("inf"), -float("inf"), float("nan")]
    values = whole if column == "whole" else broken
    table = {"field": (values, pa.array(values, pa.int64() if column == "whole" else pa.float64()))}
    for number in [*NUMBERS, *FLOATS]:
        check({"field": {name: number}}, {"field": FieldType.FLOAT}, table, len(values))
        check({"field": {"$in": [number, 7]}}, {"field": FieldType.INTEGER}, table, len(values))
