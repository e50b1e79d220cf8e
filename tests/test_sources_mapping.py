"""Does a row become the item that the settings ask for, or a rejected row that says why not?"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.config import CollectionSettings
from indexer.errors import ConfigurationError
from indexer.items import FieldType, Item, Place, Rejected
from indexer.sources import Row, open_source
from indexer.sources.mapping import read_items
from indexer.sources.schema import SchemaInference


@dataclass
class Rows:
    """A source that counts how many rows were asked for."""

    given: tuple[dict[str, Any] | Rejected, ...]
    textual: bool = False
    default_id: str = "id"
    taken: int = 0

    def rows(self) -> Iterator[Row | Rejected]:
        for line, fields in enumerate(self.given, start=1):
            self.taken += 1
            yield fields if isinstance(fields, Rejected) else Row(fields, Place("f", line))


def mapped(*rows: dict[str, Any] | Rejected, **asked: Any) -> list[Item | Rejected]:
    wanted = CollectionSettings(source=("f",), **asked)
    read = read_items(Rows(rows), wanted, SchemaInference(wanted.types, {}))
    return [one if isinstance(one, Rejected) else one[0] for one in read]


def text_of(fields: dict[str, Any], text: str | list[str]) -> str:
    (item,) = mapped({"id": "a", **fields}, text=text)
    assert isinstance(item, Item), item.reason
    return item.text


def reason_of(fields: dict[str, Any], **asked: Any) -> str:
    (rejected,) = mapped(fields, **asked)
    assert isinstance(rejected, Rejected)
    return rejected.reason


def test_by_default_all_fields_but_id_and_text_are_metadata() -> None:
    assert mapped({"id": "a", "text": " t\n", "n": 1, "x": None}, {"text": "u", "id": 7}) == [
        Item("a", " t\n", {"n": 1, "x": None}),
        Item("7", "u", {}),
    ]


def test_items_come_with_their_place_and_rejected_rows_in_between() -> None:
    bad = Rejected(Place("f", 2), "broken", "b")
    source = Rows(({"id": "a", "text": "t"}, bad, {"id": "c", "text": ""}, {"id": "d", "text": "u"}))
    assert list(read_items(source, CollectionSettings(source=("f",)), SchemaInference({}, {}))) == [
        (Item("a", "t", {}), Place("f", 1)),
        bad,
        Rejected(Place("f", 3), "empty text: field 'text' is missing or blank", "c"),
        (Item("d", "u", {}), Place("f", 4)),
    ]


def test_rows_are_taken_one_by_one() -> None:
    source = Rows(tuple({"id": str(i), "text": "t"} for i in range(10)))
    items = read_items(source, CollectionSettings(source=("f",)), SchemaInference({}, {}))
    assert source.taken == 0
    next(items)
    next(items)
    assert source.taken == 2


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "field 'id' is missing, so the row has no id"),
        ("", "field 'id': the id is empty"),
        (True, "field 'id': the id is a boolean (true), not text or an integer"),
        (1.0, "field 'id': the id is a float (1.0), not text or an integer"),
        ([], "field 'id': the id is a list, not text or an integer"),
        ("é" * 257, "field 'id': the id has 514 bytes, and 512 is the most"),
        ("a\ud800", "field 'id': the id holds bytes that are not UTF-8"),
    ],
)
def test_a_row_without_a_usable_id_is_rejected_without_one(value: object, reason: str) -> None:
    assert mapped({"id": value, "text": "t"}) == [Rejected(Place("f", 1), reason, None)]


@pytest.mark.parametrize(
    ("value", "id"), [("é" * 256, "é" * 256), ("\0", "\0"), (" ", " "), ("a/b", "a/b"), (-3, "-3")]
)
def test_any_text_of_up_to_512_bytes_and_any_integer_is_an_id(value: object, id: str) -> None:
    assert mapped({"id": value, "text": "t"}) == [Item(id, "t", {})]


def test_the_id_may_be_another_field() -> None:
    assert mapped({"sku": 9, "text": "t", "id": None}, id="sku") == [Item("9", "t", {})]
    assert reason_of({"text": "t"}, id="sku") == "field 'sku' is missing, so the row has no id"


def test_a_metadata_field_cannot_be_named_id() -> None:
    assert mapped({"sku": "s", "text": "t", "id": 5}, id="sku") == [
        Rejected(
            Place("f", 1),
            "a metadata field is named 'id', which is the item's own: list the `metadata` fields that are wanted, "
            "or rename it",
            "s",
        )
    ]
    assert mapped({"sku": "s", "text": "t", "id": 5, "n": 1}, id="sku", metadata=["n"]) == [Item("s", "t", {"n": 1})]
    with pytest.raises(ConfigurationError, match="cannot be named 'id'") as error:
        mapped(id="sku", metadata=["n", "id"])
    assert error.value.param == "metadata"


def test_listed_metadata_is_kept_and_what_is_missing_is_none() -> None:
    assert mapped({"id": "a", "text": "t", "n": 1, "nested": {}}, metadata=["n", "m", "text"]) == [
        Item("a", "t", {"n": 1, "m": None, "text": "t"})
    ]
    assert mapped({"id": "a", "text": "t", "n": 1}, metadata=[]) == [Item("a", "t", {})]


def test_a_row_whose_metadata_does_not_fit_is_rejected_under_its_id() -> None:
    assert mapped({"id": "a", "text": "t", "n": 1}, {"id": "b", "text": "t", "n": "x"}) == [
        Item("a", "t", {"n": 1}),
        Rejected(Place("f", 2), "field 'n' holds text ('x'), but the column is integer", "b"),
    ]


def test_a_row_that_is_rejected_for_its_text_fixes_no_type() -> None:
    assert mapped({"id": "a", "text": "", "n": 1}, {"id": "b", "text": "t", "n": "x"})[1:] == [
        Item("b", "t", {"n": "x"})
    ]


def test_several_text_fields_are_joined_by_a_blank_line_and_blank_ones_left_out() -> None:
    fields = {"title": " T ", "lead": None, "body": "B\n", "end": " \n"}
    assert text_of(fields, ["title", "lead", "body", "absent", "end", "title"]) == " T \n\nB\n"
    (item,) = mapped({"id": "a", **fields}, text=["title", "body"])
    assert isinstance(item, Item)
    assert item.metadata == {"lead": None, "end": " \n"}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{title}", "T"),
        ("{title}\n\n{body}", "T\n\nB {x}"),
        ("{body}{title}{body}", "B {x}TB {x}"),
        ("Title: {title}; by {absent}{none}.", "Title: T; by ."),
        ("{{{title}}} {{title}} }}{{", "{T} {title} }{"),
        ("{Long name} é", "L é"),
        ("{a-b_ç}", "D"),
    ],
)
def test_a_template_is_filled_with_the_fields(template: str, text: str) -> None:
    fields = {"title": "T", "body": "B {x}", "none": None, "Long name": "L", "a-b_ç": "D"}
    assert text_of(fields, template) == text


def test_the_fields_of_a_template_are_no_metadata() -> None:
    assert mapped({"id": "a", "t": "T", "b": "B", "n": 1}, text="{t}: {b}") == [Item("a", "T: B", {"n": 1})]


@pytest.mark.parametrize(
    "template",
    ["{", "}", "{title", "title}", "{}", "{ title}", "{a.b}", "{a[0]}", "{a!r}", "{a:>3}", "{{title}", "{a{b}}", "{ }"],
)
def test_a_template_that_cannot_be_read_is_refused_before_the_first_row(template: str) -> None:
    with pytest.raises(ConfigurationError, match=r"write \{field\} for a field, \{\{ and \}\} for braces") as error:
        read_items(Rows(()), CollectionSettings(source=("f",), text=(template,)), SchemaInference({}, {}))
    assert repr(template) in error.value.message
    assert error.value.param == "text"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (["{{title}}"], "names no field, so all texts would be the same"),
        (["{title}", "body"], "'{title}' is a template, and a template stands alone"),
        ([], "leaves a field without a name"),
        (["title", ""], "leaves a field without a name"),
    ],
)
def test_a_text_setting_that_makes_no_text_is_refused(text: list[str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        mapped(text=text)


@pytest.mark.parametrize(
    ("fields", "text", "reason"),
    [
        ({}, ["text"], "empty text: field 'text' is missing or blank"),
        ({"text": " \n\u2003"}, ["text"], "empty text: field 'text' is missing or blank"),
        ({"a": "", "b": None}, ["a", "b"], "empty text: fields 'a', 'b' are all missing or blank"),
        ({"a": " "}, ["Title: {a}{b}"], "empty text: fields 'a', 'b' are all missing or blank"),
        ({"text": 5}, ["text"], "field 'text' holds an integer (5), but what is embedded must be text"),
        ({"a": "x", "b": ["y"]}, ["a", "b"], "field 'b' holds a list, but what is embedded must be text"),
        ({"a": "x", "b": True}, ["{a}{b}"], "field 'b' holds a boolean (true), but what is embedded must be text"),
        ({"text": "\ud800"}, ["text"], "field 'text' holds half a surrogate pair, which is not Unicode"),
    ],
)
def test_a_row_without_text_is_rejected_under_its_id(fields: dict[str, Any], text: list[str], reason: str) -> None:
    assert mapped({"id": "a", **fields}, text=text) == [Rejected(Place("f", 1), reason, "a")]


def test_csv_is_read_from_file_to_items_in_the_declared_types(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('id,text,price,tags,zip\n1,one,2,"a, b",007\n2,two,x,,\n3,three,,c,8\n', encoding="utf-8")
    wanted = CollectionSettings(source=(str(path),), types={"price": FieldType.FLOAT, "tags": FieldType.STRINGS})
    schema = SchemaInference(wanted.types, {})
    assert list(read_items(open_source(wanted), wanted, schema)) == [
        (Item("1", "one", {"price": 2.0, "tags": ["a", "b"], "zip": "007"}), Place(str(path), 2)),
        Rejected(Place(str(path), 3), "field 'price' holds text ('x'), but the column is float", "2"),
        (Item("3", "three", {"price": None, "tags": ["c"], "zip": "8"}), Place(str(path), 4)),
    ]
    assert schema.schema == {"price": FieldType.FLOAT, "tags": FieldType.STRINGS, "zip": FieldType.STRING}


def test_a_folder_is_read_to_items_named_by_their_paths(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("---\nid: own\n---\nx", encoding="utf-8")
    (tmp_path / "b.md").write_text("---\nn: 1\n---\ny", encoding="utf-8")
    wanted = CollectionSettings(source=(str(tmp_path),))
    rejected, item = read_items(open_source(wanted), wanted, SchemaInference({}, {}))
    assert isinstance(rejected, Rejected)
    assert rejected.id == "a.md"
    assert rejected.reason.startswith("a metadata field is named 'id'")
    assert item == (Item("b.md", "y", {"n": 1}), Place(str(tmp_path / "b.md"), 1))


TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@settings(max_examples=60)
@given(st.lists(st.tuples(TEXTS, TEXTS)))
def test_any_id_and_text_in_json_lines_are_kept_exactly(pairs: list[tuple[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.jsonl"
        path.write_bytes("".join(json.dumps({"id": i, "text": t}) + "\n" for i, t in pairs).encode())
        wanted = CollectionSettings(source=(str(path),))
        read = list(read_items(open_source(wanted), wanted, SchemaInference({}, {})))
    for (id, text), one in zip(pairs, read, strict=True):
        if id and len(id.encode()) <= 512 and text.strip():
            assert not isinstance(one, Rejected)
            assert (one[0].id, one[0].text) == (id, text)
        else:
            assert isinstance(one, Rejected)
