"""Does a field keep one type, and does a row that does not fit teach nothing?"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.errors import SchemaConflict
from indexer.items import FieldType, Item, Schema, hash_content
from indexer.sources.schema import SchemaInference

S, I, F, B, D, L = FieldType  # noqa: E741 -- string, integer, float, boolean, datetime, strings
MAY = datetime(2024, 5, 1, 10, 30, tzinfo=UTC)


def inference(declared: Schema | None = None, known: Schema | None = None) -> SchemaInference:
    return SchemaInference(declared or {}, known or {})


def fitted(schema: SchemaInference, value: Any, textual: bool = False) -> Any:
    return schema.fit({"f": value}, textual=textual)["f"]


def refusal(schema: SchemaInference, value: Any, textual: bool = False) -> str:
    before = schema.schema
    with pytest.raises(ValueError, match="field 'f'") as error:
        schema.fit({"new": "x", "f": value}, textual=textual)
    assert schema.schema == before
    return str(error.value)


@pytest.mark.parametrize(
    ("value", "type"),
    [
        ("a", S),
        ("2024-05-01", S),
        ("", S),
        (1, I),
        (-(2**63), I),
        (2**63 - 1, I),
        (1.0, F),
        (True, B),
        (MAY, D),
        (["a", ""], L),
        ([], L),
    ],
)
def test_the_first_value_fixes_the_type(value: Any, type: FieldType) -> None:
    schema = inference()
    assert fitted(schema, None) is None
    assert schema.schema == {}
    assert fitted(schema, value) == value
    assert schema.schema == {"f": type}
    assert fitted(schema, None) is None


def test_dates_become_midnights_and_zones_become_utc() -> None:
    schema = inference()
    assert fitted(schema, date(2024, 5, 1)) == datetime(2024, 5, 1, tzinfo=UTC)
    value = fitted(schema, datetime(2024, 5, 1, 12, 30, tzinfo=timezone(timedelta(hours=2))))
    assert (value, value.tzinfo) == (MAY, UTC)
    assert fitted(schema, datetime(2024, 5, 1, 10, 30)) == MAY


def test_an_integer_field_widens_to_float_and_stays_one() -> None:
    schema = inference()
    first = fitted(schema, 3)
    assert type(first) is int
    assert fitted(schema, 2.5) == 2.5
    assert schema.schema == {"f": F}
    widened = fitted(schema, 3)
    assert type(widened) is float
    assert hash_content(Item("a", "t", {"f": first})) == hash_content(Item("a", "t", {"f": widened}))


def test_a_known_integer_field_widens_too() -> None:
    schema = inference(known={"f": I})
    assert fitted(schema, 2.0) == 2.0
    assert schema.schema == {"f": F}


@pytest.mark.parametrize(
    ("type", "value", "holds"),
    [
        (I, "abc", "text ('abc')"),
        (I, True, "a boolean (true)"),
        (F, "1.5", "text ('1.5')"),
        (F, False, "a boolean (false)"),
        (S, 1, "an integer (1)"),
        (S, ["a"], "a list"),
        (S, MAY, "a date (2024-05-01T10:30:00+00:00)"),
        (B, 1, "an integer (1)"),
        (B, "true", "text ('true')"),
        (D, 5.5, "a float (5.5)"),
        (D, "yesterday", "text ('yesterday')"),
        (D, "0001-01-01T00:00:00+05:00", "text ('0001-01-01T00:00:00+05:00')"),
        (L, "a", "text ('a')"),
        (I, "x" * 100, "text ('" + "x" * 59 + "…')"),
    ],
)
def test_a_value_of_another_type_is_refused_with_both_named(type: FieldType, value: Any, holds: str) -> None:
    reason = f"field 'f' holds {holds}, but the column is {type.value}"
    assert refusal(inference(known={"f": type}), value) == reason
    assert refusal(inference(declared={"f": type}), value) == reason


@pytest.mark.parametrize(
    ("value", "holds"),
    [
        ({"a": 1}, "holds an object: "),
        ([{"a": 1}], "holds a list with an object: "),
        (["a", None], "holds a list with nothing: "),
        ([1], "holds a list with an integer (1): "),
        (b"x", "holds binary data: "),
        (time(12), "holds a time: "),
        (2**63, "holds an integer beyond 64 bits: "),
        (-(2**63) - 1, "holds an integer beyond 64 bits: "),
        (math.nan, "holds nan, which is no number: "),
        (-math.inf, "holds -inf, which is no number: "),
        ("\ud800", "holds half a surrogate pair, "),
        (["\udfff"], "holds a list with half a surrogate pair, "),
        (datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5))), "holds a date (0001-01-01T00:00:00+05:00), which in "),
    ],
)
def test_what_metadata_cannot_hold_is_refused_with_what_there_is(value: Any, holds: str) -> None:
    assert refusal(inference(), value).startswith(f"field 'f' {holds}")


def test_an_integer_that_python_will_not_spell_is_refused_in_words() -> None:
    assert refusal(inference(), 1 << 100_000).startswith("field 'f' holds an integer beyond 64 bits")
    assert refusal(inference(known={"f": S}), [1 << 100_000]).startswith(
        "field 'f' holds a list with an integer beyond"
    )


def test_a_list_that_holds_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert "a list with a list" in refusal(inference(), endless)


def test_a_name_that_is_not_unicode_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the name of field '\\ud800' is not Unicode"):
        inference().fit({"\ud800": 1}, textual=False)


def test_dates_in_text_are_read_only_where_a_date_is_wanted() -> None:
    for schema in (inference(declared={"f": D}), inference(known={"f": D})):
        assert fitted(schema, "2024-05-01T12:30:00+02:00") == MAY
        assert fitted(schema, "2024-05-01T10:30:00Z") == MAY
        assert fitted(schema, "2024-05-01 10:30") == MAY
        assert fitted(schema, "2024-05-01") == datetime(2024, 5, 1, tzinfo=UTC)
    assert fitted(inference(), "2024-05-01") == "2024-05-01"


def test_a_declared_integer_does_not_widen() -> None:
    assert refusal(inference(declared={"f": I}), 1.5) == "field 'f' holds a float (1.5), but the column is integer"


@pytest.mark.parametrize(
    ("type", "text", "value"),
    [
        (S, "07", "07"),
        (I, "07", 7),
        (I, " -12 ", -12),
        (F, "1e3", 1000.0),
        (F, " 2", 2.0),
        (B, "TRUE", True),
        (B, "1", True),
        (B, "false", False),
        (B, "0", False),
        (D, " 2024-05-01T10:30 ", MAY),
        (L, "a, b c ,,d", ["a", "b c", "d"]),
        (L, "a", ["a"]),
    ],
)
def test_text_of_a_textual_source_is_read_as_the_declared_type(type: FieldType, text: str, value: Any) -> None:
    read = fitted(inference(declared={"f": type}), text, textual=True)
    assert (read, read.__class__) == (value, value.__class__)
    assert fitted(inference(known={"f": type}), text, textual=True) == value


@pytest.mark.parametrize(
    ("type", "text", "reason"),
    [
        (I, "1.5", "text ('1.5'), but the column is integer"),
        (I, "1_000", "text ('1_000'), but the column is integer"),
        (I, "٣", "text ('٣'), but the column is integer"),
        (I, "9" * 19, "an integer beyond 64 bits"),
        (I, "9" * 5000, "text ('999"),
        (F, "1_0.5", "text ('1_0.5'), but the column is float"),
        (F, "nan", "nan, which is no number"),
        (F, "1e999", "inf, which is no number"),
        (B, "yes", "text ('yes'), but the column is boolean"),
        (D, "01/05/2024", "text ('01/05/2024'), but the column is datetime"),
    ],
)
def test_text_that_does_not_spell_the_declared_type_is_refused(type: FieldType, text: str, reason: str) -> None:
    assert refusal(inference(declared={"f": type}), text, textual=True).startswith(f"field 'f' holds {reason}")


def test_undeclared_text_of_a_textual_source_stays_text() -> None:
    schema = inference()
    assert schema.fit({"a": "1", "b": "true", "c": "2024-05-01"}, textual=True) == {
        "a": "1",
        "b": "true",
        "c": "2024-05-01",
    }
    assert schema.schema == {"a": S, "b": S, "c": S}


def test_fields_are_listed_known_ones_first_then_as_they_are_seen() -> None:
    schema = inference(declared={"z": F, "never": I}, known={"m": S, "b": I})
    schema.fit({"q": 1, "z": None, "b": None}, textual=False)
    schema.fit({"a": True, "q": 1.5, "empty": None}, textual=False)
    assert list(schema.schema.items()) == [("m", S), ("b", I), ("q", F), ("z", F), ("a", B)]


def test_a_refused_row_fixes_no_type_of_the_fields_before_the_bad_one() -> None:
    schema = inference(known={"n": I})
    with pytest.raises(ValueError, match="field 'bad'"):
        schema.fit({"n": 1.5, "a": 1, "bad": {}}, textual=False)
    assert schema.schema == {"n": I}
    assert schema.fit({"a": "text"}, textual=False) == {"a": "text"}


def test_an_integer_field_may_be_declared_float() -> None:
    schema = inference(declared={"f": F}, known={"f": I})
    assert schema.schema == {"f": F}
    assert type(fitted(schema, 1)) is float


@pytest.mark.parametrize("known", list(FieldType))
@pytest.mark.parametrize("declared", list(FieldType))
def test_any_other_contradiction_of_the_published_type_asks_for_a_rebuild(
    known: FieldType, declared: FieldType
) -> None:
    if declared is known or (known, declared) == (I, F):
        assert inference({"price": declared}, {"price": known}).schema == {"price": declared}
        return
    with pytest.raises(SchemaConflict) as error:
        inference({"price": declared}, {"price": known})
    for named in ("'price'", repr(declared.value), repr(known.value), "--rebuild"):
        assert named in error.value.message


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.datetimes() | st.lists(st.text())
FITS: dict[FieldType, Callable[[Any], bool]] = {
    S: lambda v: type(v) is str,
    I: lambda v: type(v) is int,
    F: lambda v: type(v) in (int, float),
    B: lambda v: type(v) is bool,
    D: lambda v: type(v) is datetime and v.tzinfo is UTC,
    L: lambda v: type(v) is list,
}


@given(st.lists(st.dictionaries(st.sampled_from("abc"), VALUES)), st.booleans())
def test_whatever_comes_all_values_that_were_fitted_are_of_the_final_type(
    rows: list[dict[str, Any]], text: bool
) -> None:
    schema, kept = inference(declared={"c": D}), []
    for row in rows:
        try:
            kept.append(schema.fit(row, textual=text))
        except ValueError:
            continue
    for metadata in kept:
        hash_content(Item("id", "text", metadata))
        assert all(value is None or FITS[schema.schema[name]](value) for name, value in metadata.items())
