"""Which requests does /docs show? They work on the collection that `parecido demo` makes."""

from __future__ import annotations

from fastapi.openapi.models import Example

SEARCH: dict[str, Example] = {
    "text": {
        "summary": "By text",
        "value": {"text": "strip whitespace from both ends of a string", "limit": 3},
    },
    "filter": {
        "summary": "By text, with a filter",
        "value": {
            "text": "wait for several things at once",
            "filter": {"kind": {"$in": ["function", "method"]}, "lines": {"$lte": 20}},
            "limit": 5,
        },
    },
    "id": {
        "summary": "By item: what is like it?",
        "value": {"id": "textwrap.dedent", "min_similarity": 0.4, "include": ["metadata", "passages"]},
    },
    "page": {
        "summary": "The second page",
        "value": {"text": "read a file line by line", "limit": 10, "offset": 10},
    },
}

BATCH: dict[str, Example] = {
    "two": {
        "summary": "Two queries at once",
        "value": {"queries": [{"text": "parse a date", "limit": 2}, {"id": "str.strip", "limit": 2}]},
    },
}

COMPARE: dict[str, Example] = {
    "items": {"summary": "Two items", "value": {"a": {"id": "str.strip"}, "b": {"id": "str.rstrip"}}},
    "text": {
        "summary": "An item and a text",
        "value": {"a": {"id": "textwrap.dedent"}, "b": {"text": "remove the common indentation of all lines"}},
    },
}
