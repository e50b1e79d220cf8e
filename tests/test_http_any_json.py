"""Is there any JSON at all that makes the service fail?"""

from __future__ import annotations

from typing import Any

import httpx2 as httpx
from hypothesis import given, settings
from hypothesis import strategies as st
from service_items import ITEMS

pytest_plugins = ["service_fixtures"]


NAMES = ["text", "id", "vector", "limit", "offset", "min_similarity", "filter", "include", "model", "generation"]
NAMES += ["queries", "a", "b", "pairs", "n", "kind", "day", "tags", "$and", "$or", "$not", "$lt", "$in", "$exists"]
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.integers(-2, 12),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from([*NAMES, *(row["id"] for row in ITEMS), "2024-01-01"]),
    st.just([1.0] + [0.0] * 383),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=3), inner),
    max_leaves=12,
)
BODIES = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=6) | VALUES
QUERY = st.fixed_dictionaries({}, optional=dict.fromkeys(NAMES[:10], VALUES)) | st.fixed_dictionaries(
    {"id": st.just("soup"), "filter": VALUES}
)


@settings(max_examples=60)
@given(anything=BODIES, query=QUERY, sides=st.tuples(VALUES, VALUES))
def test_no_json_whatever_makes_the_service_fail(
    api: httpx.Client, anything: Any, query: dict[str, Any], sides: tuple[Any, Any]
) -> None:
    for route, body in [
        ("search", anything),
        ("search", query),
        ("search/batch", anything),
        ("search/batch", {"queries": [query, anything, {"id": "soup"}]}),
        ("compare", anything),
        ("compare", {"a": sides[0], "b": sides[1]}),
    ]:
        answer = api.post(f"/v1/collections/notes/{route}", json=body)
        assert answer.status_code in (200, 404, 409, 413, 422), answer.text
        if answer.status_code != 200:
            error = answer.json()["error"]
            assert set(error) == {"message", "type", "param", "code"}
