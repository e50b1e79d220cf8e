"""Does a filter let through exactly the items that it says, and is everything that is not a filter refused?

Examples of every operator, and of every refusal with what it says and where. The random filters are in
test_filters_judged.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.errors import InvalidFilter
from indexer.filters import MAX_CONDITIONS, MAX_DEPTH, MAX_VALUES, Filter, OneOf, evaluate, parse
from indexer.items import FieldType, Value

SCHEMA = {
    "title": FieldType.STRING,
    "stock": FieldType.INTEGER,
    "price": FieldType.FLOAT,
    "sold": FieldType.BOOLEAN,
    "added": FieldType.DATETIME,
    "tags": FieldType.STRINGS,
}
SHOP: dict[str, Mapping[str, Value]] = {
    "cup": {"title": "Red cup", "stock": 2**53 + 1, "price": 20.0, "sold": True, "tags": ["red", "new"]},
    "jug": {"title": "red jug", "stock": 3, "price": 2.5, "sold": False, "tags": []},
    "pot": {"title": "", "stock": 2**63 - 1, "price": -0.0, "added": datetime(2026, 1, 31, 12, tzinfo=UTC)},
    "urn": {"added": datetime(2026, 1, 31, 12, 0, 0, 1, tzinfo=UTC), "tags": ["old", "red"]},
}
TABLE = {
    "id": pa.array(list(SHOP)),
    "title": pa.array([row.get("title") for row in SHOP.values()], pa.string()),
    "stock": pa.array([row.get("stock") for row in SHOP.values()], pa.int64()),
    "price": pa.array([row.get("price") for row in SHOP.values()], pa.float64()),
    "sold": pa.array([row.get("sold") for row in SHOP.values()], pa.bool_()),
    "added": pa.array([row.get("added") for row in SHOP.values()], pa.timestamp("us", tz="UTC")),
    "tags": pa.array([row.get("tags") for row in SHOP.values()], pa.list_(pa.string())),
}

EXAMPLES = [
    ({}, "cup jug pot urn"),
    ({"title": "Red cup"}, "cup"),
    ({"title": {"$eq": ""}}, "pot"),
    ({"price": {"$ne": 2.5}}, "cup pot urn"),
    ({"price": {"$gt": 2.5}}, "cup"),
    ({"price": {"$gte": 2.5}}, "cup jug"),
    ({"price": {"$lt": 2.5}}, "pot"),
    ({"price": {"$lte": 2.5}}, "jug pot"),
    ({"price": {"$gte": 1, "$lt": 20}}, "jug"),
    ({"price": {"$not": {"$gte": 1, "$lt": 20}}}, "cup pot urn"),
    ({"price": {"$in": [0, 20]}}, "cup pot"),
    ({"price": {"$nin": [0, 20]}}, "jug urn"),
    ({"price": 20, "title": "red jug"}, ""),
    ({"title": {"$gt": "Red cup"}}, "jug"),
    ({"title": {"$contains": "cup"}}, "cup"),
    ({"title": {"$contains": ""}}, "cup jug pot"),
    ({"title": {"$prefix": "red"}}, "jug"),
    ({"sold": True}, "cup"),
    ({"sold": {"$ne": True}}, "jug pot urn"),
    ({"sold": {"$exists": True}}, "cup jug"),
    ({"sold": {"$exists": False}}, "pot urn"),
    ({"sold": None}, "pot urn"),
    ({"sold": {"$ne": None}}, "cup jug"),
    ({"sold": {"$in": [None, False]}}, "jug pot urn"),
    ({"sold": {"$nin": [None, False]}}, "cup"),
    ({"sold": {"$in": []}}, ""),
    ({"added": "2026-01-31T12:00:00"}, "pot"),
    ({"added": "2026-01-31T13:00:00+01:00"}, "pot"),
    ({"added": {"$gt": "2026-01-31T12:00:00Z"}}, "urn"),
    ({"added": {"$lte": "2026-02-01"}}, "pot urn"),
    ({"tags": "red"}, "cup urn"),
    ({"tags": {"$contains": "red"}}, "cup urn"),
    ({"tags": {"$contains": "re"}}, ""),
    ({"tags": {"$ne": "red"}}, "jug pot"),
    ({"tags": {"$in": ["new", "old"]}}, "cup urn"),
    ({"tags": {"$nin": ["new"]}}, "jug pot urn"),
    ({"tags": {"$exists": True}}, "cup jug urn"),
    ({"id": {"$prefix": "u"}}, "urn"),
    ({"id": None}, ""),
    ({"$and": [{"price": {"$lt": 10}}, {"title": {"$ne": ""}}]}, "jug"),
    ({"$or": [{"id": "cup"}, {"stock": 3}]}, "cup jug"),
    ({"$not": {"price": {"$lt": 10}}}, "cup urn"),
    ({"$not": {}}, ""),
    ({"stock": 2**53 + 1}, "cup"),
    ({"stock": float(2**53)}, ""),
    ({"stock": {"$gt": float(2**53)}}, "cup pot"),
    ({"stock": {"$in": [3.0, 2.5, 2**64]}}, "jug"),
    ({"stock": {"$lt": 2**63}}, "cup jug pot"),
    ({"stock": {"$gt": float(2**63)}}, ""),
    ({"stock": {"$gt": -(10**400)}}, "cup jug pot"),
    ({"price": {"$lt": 10**400}}, "cup jug pot"),
]


@pytest.mark.parametrize(("filter", "expected"), EXAMPLES, ids=lambda value: str(value)[:50])
def test_a_worked_example_gives_its_items(filter: object, expected: str) -> None:
    mask = evaluate(parse(filter, SCHEMA), TABLE.__getitem__, len(SHOP))
    assert " ".join(id for id, passes in zip(SHOP, mask, strict=True) if passes) == expected


def test_elements_hidden_under_a_null_list_are_not_there() -> None:
    # A writer may leave bytes under a null; Arrow's format allows it.
    lists = pa.ListArray.from_arrays([0, 1, 2], pa.array(["a", "a"]), mask=pa.array([True, False]))
    assert evaluate(OneOf("tags", ("a",)), lambda _: lists, 2).tolist() == [False, True]


def test_a_column_of_nulls_without_a_type_is_missing_everywhere() -> None:
    filter = parse({"price": {"$not": {"$lt": 20}}}, SCHEMA)
    assert evaluate(filter, lambda _: pa.nulls(2), 2).tolist() == [True, True]


@pytest.mark.parametrize("filter", [{}, {"sold": True}, {"sold": None}, {"tags": "red"}, {"title": "b"}])
def test_the_mask_is_the_callers_to_change(filter: object) -> None:
    column = {"sold": pa.array([True]), "tags": pa.array([["red"]]), "title": pa.array(["b"])}
    mask = evaluate(parse(filter, SCHEMA), column.__getitem__, 1)
    before = bool(mask[0])
    mask ^= True
    assert (bool(mask[0]), evaluate(parse(filter, SCHEMA), column.__getitem__, 1)[0]) == (not before, before)


def test_a_field_named_id_in_the_schema_does_not_hide_the_items_own_id() -> None:
    assert parse({"id": "7"}, {"id": FieldType.INTEGER}) == OneOf("id", ("7",))


# ---- refusals ----

KNOWN = "its fields are added (datetime), id (string), price (float), sold (boolean), stock (integer), tags (strings)"
OPERATORS = "$eq, $ne, $gt, $gte, $lt, $lte, $in, $nin, $exists, $contains, $prefix, $not"
FLOAT = "Field 'price' is of type float and is compared with a number, not with "
DATETIME = (
    "Field 'added' is of type datetime and is compared with an ISO 8601 string such as '2026-01-31T12:00:00Z', not "
)
REFUSALS: list[tuple[object, str, str]] = [
    ([], "filter", 'A filter is an object such as {"price": {"$lt": 20}}, not a list.'),
    (None, "filter", "not null."),
    ({1: 2}, "filter", "A filter's keys are strings, not the number 1."),
    ({"prise": 1}, "filter.prise", f"This collection has no field 'prise'; {KNOWN}, title (string)."),
    ({"price": {"$near": 1}}, "filter.price.$near", f"'$near' on field 'price'; the operators are {OPERATORS}."),
    ({"price": {"lt": 1}}, "filter.price.lt", "Unknown operator 'lt' on field 'price'; the operators are"),
    ({"price": {}}, "filter.price", "Operators of field 'price' are an object such as {\"$eq\": …}, not an empty one."),
    ({"price": {"$not": 5}}, "filter.price.$not", "not the number 5."),
    (
        {"$nor": []},
        "filter.$nor",
        "Unknown operator '$nor'; filters are combined by $and, $or, $not, and any other key",
    ),
    ({"$lt": 5}, "filter.$lt", '$lt is asked of a field; write {"<field>": {"$lt": …}}.'),
    ({"$and": {}}, "filter.$and", "$and needs a list of one or more filters, not an object."),
    ({"$or": []}, "filter.$or", "$or needs a list of one or more filters, not an empty one."),
    ({"$or": [{}, {"price": {"$lt": "x"}}]}, "filter.$or[1].price.$lt", FLOAT + "the string 'x'."),
    ({"price": True}, "filter.price", FLOAT + "true."),
    ({"price": float("nan")}, "filter.price", FLOAT + "nan, which is not finite."),
    ({"price": {"$lt": -float("inf")}}, "filter.price.$lt", FLOAT + "-inf, which is not finite."),
    ({"price": {"$lt": None}}, "filter.price.$lt", FLOAT + "null."),
    ({"price": {"$in": [1, "x"]}}, "filter.price.$in[1]", FLOAT + "the string 'x'."),
    ({"price": {"$in": 1}}, "filter.price.$in", "$in needs a list of values, not the number 1."),
    ({"price": [1]}, "filter.price", FLOAT + "a list."),
    ({"title": 10**5000}, "filter.title", "compared with a string, not with an integer of 16,610 bits."),
    ({"title": "\ud800"}, "filter.title", "a string, not with '\\ud800', which is not valid Unicode."),
    ({"title": {"$contains": None}}, "filter.title.$contains", "compared with a string, not with null."),
    (
        {"sold": 1},
        "filter.sold",
        "Field 'sold' is of type boolean and is compared with true or false, not with the num",
    ),
    ({"sold": {"$lt": True}}, "filter.sold.$lt", "boolean, which does not take $lt; it takes $eq, $ne, $in, $nin, $ex"),
    (
        {"sold": {"$exists": 1}},
        "filter.sold.$exists",
        "Whether field 'sold' exists is true or false, not the number 1.",
    ),
    ({"added": "soon"}, "filter.added", DATETIME + "with the string 'soon'."),
    ({"added": "0001-01-01T00:00+01:00"}, "filter.added", DATETIME + "with the string '0001-01-01T00:00+01:00'."),
    (
        {"tags": ["red"]},
        "filter.tags",
        "Field 'tags' is of type strings and is compared with one string, that of an elem",
    ),
    (
        {"tags": {"$prefix": "r"}},
        "filter.tags.$prefix",
        "does not take $prefix; it takes $eq, $ne, $in, $nin, $exists, ",
    ),
    ({"id": 7}, "filter.id", "Field 'id' is of type string and is compared with a string, not with the number 7."),
    ({"\ud800" * 99: 1}, "filter." + "\\ud800" * 79 + "…", "has no field"),
]


@pytest.mark.parametrize(("filter", "param", "message"), REFUSALS, ids=[param for _, param, _ in REFUSALS])
def test_a_wrong_filter_is_refused_by_what_and_where(filter: object, param: str, message: str) -> None:
    with pytest.raises(InvalidFilter) as refused:
        parse(filter, SCHEMA)
    assert refused.value.param == param
    assert message in refused.value.message


def nested(levels: int, around: Callable[[Any], Any], core: object) -> Any:
    for _ in range(levels - 1):
        core = around(core)
    return core


def test_a_filter_is_taken_up_to_each_limit_and_refused_beyond_it() -> None:
    limits: list[tuple[Callable[[int], object], int, str]] = [
        (lambda n: nested(n, lambda part: {"$and": [part]}, {}), MAX_DEPTH, "at most 32 levels deep"),
        (lambda n: nested(n, lambda part: {"$not": part}, {}), MAX_DEPTH, "at most 32 levels deep"),
        (lambda n: {"price": nested(n, lambda p: {"$not": p}, {"$lt": 1})}, MAX_DEPTH, "at most 32 levels deep"),
        (lambda n: {"$or": [{"price": 1}] * n}, MAX_CONDITIONS, "at most 1,000 conditions"),
        (lambda n: {"$or": [{}] * n}, MAX_CONDITIONS, "at most 1,000 conditions"),
        (lambda n: {"price": {"$in": list(range(n))}}, MAX_VALUES, "at most 10,000 values, not 10,001"),
    ]
    for build, limit, message in limits:
        assert parse(build(limit), SCHEMA)
        for beyond in (limit + 1, 50 * limit if limit == MAX_DEPTH else limit + 1):
            with pytest.raises(InvalidFilter, match=message):
                parse(build(beyond), SCHEMA)


keys = st.sampled_from([*SCHEMA, "id", *OPERATORS.split(", "), "$and", "$or"]) | st.text(st.characters(), max_size=3)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.just("2026-01-31")
any_json = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3))


def outcome(value: object) -> Filter | InvalidFilter:
    try:
        return parse(value, SCHEMA)
    except InvalidFilter as refused:
        return refused


@given(st.dictionaries(keys, any_json, max_size=3) | any_json)
@settings(max_examples=600)
def test_any_json_is_a_filter_that_can_be_evaluated_or_is_refused_in_words(value: object) -> None:
    match outcome(value):
        case InvalidFilter(message=message, param=param):
            assert param is not None
            assert param.startswith("filter")
            assert (message + param).encode()
            assert message.endswith(".")
        case tree:
            assert evaluate(tree, TABLE.__getitem__, len(SHOP)).shape == (len(SHOP),)
