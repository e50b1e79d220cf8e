"""Does the service find, page, filter and compare as a plain calculation would?"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx2 as httpx
import numpy as np
import pytest
from service_items import ITEMS, LONG_ID, LONG_TEXT
from service_support import compare, hits, ids, search

from indexer.models import Model

pytest_plugins = ["service_fixtures"]

ALL = len(ITEMS)
BY_ID = {row["id"]: row for row in ITEMS}
BREAD = "how do I bake bread with yeast?"


def cosine(a: list[float], b: list[float]) -> float:
    left, right = np.array(a), np.array(b)
    return float(left @ right / np.linalg.norm(left) / np.linalg.norm(right))


@pytest.mark.parametrize(
    ("text", "id"),
    [
        (BREAD, "bread"),
        ("a telescope is repaired by people in space", "c#"),
        ("concert of a symphony orchestra", "a//b"),
        ("young cat playing with yarn", "e\u0301"),
        ("shares fall at the stock exchange", "trailing\n"),
        ("an antique clock is repaired", LONG_ID),
    ],
)
def test_a_text_finds_the_obvious_item_first(api: httpx.Client, text: str, id: str) -> None:
    assert ids(api, text=text)[0] == id


def test_an_answer_and_a_hit_have_exactly_the_promised_fields(api: httpx.Client) -> None:
    answer = search(api, text=BREAD)
    assert set(answer) == {"collection", "generation", "model", "took_ms", "hits"}
    assert (answer["collection"], answer["generation"], answer["model"]) == ("notes", 1, "all-MiniLM-L6-v2")
    assert answer["took_ms"] > 0
    assert len(answer["hits"]) == 10
    for hit in answer["hits"]:
        assert set(hit) == {"id", "similarity", "passage", "metadata"}
        assert set(hit["passage"]) == {"text", "start", "end"}


def test_metadata_comes_back_as_it_was_indexed_without_the_missing_fields(api: httpx.Client) -> None:
    for hit in hits(api, text=BREAD, limit=ALL):
        expected = {key: value for key, value in BY_ID[hit["id"]].items() if key not in ("id", "text")}
        assert {**hit["metadata"], "day": None} == {**expected, "day": None}
        assert moment(hit["metadata"]) == moment(expected)


def test_hits_are_ordered_by_similarity_and_every_item_is_found_once(api: httpx.Client) -> None:
    found = hits(api, text=BREAD, limit=ALL + 5)
    similarities = [hit["similarity"] for hit in found]
    assert similarities == sorted(similarities, reverse=True)
    assert sorted(hit["id"] for hit in found) == sorted(BY_ID)


def test_a_search_by_id_leaves_the_item_out_and_agrees_with_compare(api: httpx.Client) -> None:
    for id in ("é", LONG_ID):
        found = hits(api, id=id, limit=ALL)
        assert {hit["id"] for hit in found} == set(BY_ID) - {id}
        for hit in found:
            assert compare(api, a={"id": id}, b={"id": hit["id"]})["similarity"] == hit["similarity"]


def test_a_search_by_the_models_own_vector_equals_the_search_by_text(api: httpx.Client, started_model: Model) -> None:
    (vector,) = started_model.embed_query([BREAD])
    by_vector = hits(api, vector=vector.tolist(), limit=ALL)
    by_text = hits(api, text=BREAD, limit=ALL)
    assert [hit["id"] for hit in by_vector] == [hit["id"] for hit in by_text]
    assert [h["similarity"] for h in by_vector] == pytest.approx([h["similarity"] for h in by_text], abs=2e-6)


def test_the_length_of_a_query_vector_does_not_matter(api: httpx.Client, started_model: Model) -> None:
    (vector,) = started_model.embed_query([BREAD])
    assert hits(api, vector=(vector * 1000).tolist()) == hits(api, vector=vector.tolist())


def test_similarities_are_the_cosines_of_the_vectors_that_are_shown(api: httpx.Client) -> None:
    (own,) = hits(api, text=BY_ID["é"]["text"], limit=1, include=["vector"])
    assert own["id"] == "é"
    for hit in hits(api, id="é", limit=ALL, include=["vector"]):
        assert hit["similarity"] == pytest.approx(cosine(own["vector"], hit["vector"]), abs=2e-6)


def test_pages_laid_side_by_side_are_the_whole_list(api: httpx.Client) -> None:
    whole = hits(api, text=BREAD, limit=ALL)
    pages = [hit for offset in range(0, ALL + 7, 7) for hit in hits(api, text=BREAD, limit=7, offset=offset)]
    assert pages == whole


def test_a_page_past_the_end_is_empty(api: httpx.Client) -> None:
    assert hits(api, text=BREAD, offset=ALL) == []


def test_min_similarity_cuts_the_list_and_includes_its_bound(api: httpx.Client) -> None:
    whole = hits(api, text=BREAD, limit=ALL)
    floor = whole[4]["similarity"]
    assert hits(api, text=BREAD, limit=ALL, min_similarity=floor) == [h for h in whole if h["similarity"] >= floor]
    assert hits(api, text=BREAD, min_similarity=1.0) == []


@pytest.mark.parametrize(
    ("include", "more"),
    [
        ([], set()),
        (["text"], {"text"}),
        (["metadata"], {"metadata"}),
        (["passages"], {"passages"}),
        (["vector"], {"vector"}),
        (["vector", "text", "passages", "metadata"], {"text", "metadata", "passages", "vector"}),
    ],
)
def test_include_adds_just_what_it_names(api: httpx.Client, include: list[str], more: set[str]) -> None:
    for hit in hits(api, text="sailing", include=include, limit=3):
        assert set(hit) == {"id", "similarity", "passage"} | more


def test_an_included_text_is_whole_and_passages_point_into_it(api: httpx.Client) -> None:
    for hit in hits(api, text="sailing", include=["text", "passages"], limit=ALL):
        text = BY_ID[hit["id"]]["text"]
        assert hit["text"] == text
        for passage in [hit["passage"], *hit["passages"]]:
            assert text[passage["start"] : passage["end"]] == passage["text"]


def test_the_passages_of_a_long_item_are_scored_and_the_best_one_is_shown(api: httpx.Client) -> None:
    (hit,) = hits(api, text="the skipper reefs the mainsail", limit=1, include=["passages"])
    assert hit["id"] == LONG_ID
    assert len(hit["passages"]) > 3
    best = max(hit["passages"], key=lambda passage: passage["similarity"])
    assert best == {**hit["passage"], "similarity": hit["similarity"]}
    assert "skipper" in hit["passage"]["text"]
    assert hit["passages"][0]["start"] == 0
    assert hit["passages"][-1]["end"] == len(LONG_TEXT)


def test_a_query_longer_than_the_models_window_is_read_to_its_end(api: httpx.Client) -> None:
    filler = "The committee met again and talked about the committee. " * 60
    assert hits(api, text=filler, limit=1)[0]["similarity"] < 0.4
    (hit,) = hits(api, text=filler + "\n\n" + BY_ID["soup"]["text"] * 12, limit=1)
    assert hit["id"] == "soup"
    assert hit["similarity"] > 0.7


def day(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def moment(row: dict[str, Any]) -> datetime | None:
    return day(row["day"]) if "day" in row else None


FILTERS: list[tuple[dict[str, Any], Callable[[dict[str, Any]], bool]]] = [
    ({}, lambda row: True),
    ({"kind": "space"}, lambda row: row.get("kind") == "space"),
    ({"kind": {"$eq": "music"}}, lambda row: row.get("kind") == "music"),
    ({"kind": {"$ne": "music"}}, lambda row: row.get("kind") != "music"),
    ({"n": {"$gt": 30}}, lambda row: "n" in row and row["n"] > 30),
    ({"n": {"$gte": 30}}, lambda row: "n" in row and row["n"] >= 30),
    ({"price": {"$lt": 4}}, lambda row: "price" in row and row["price"] < 4),
    ({"price": {"$lte": 4}}, lambda row: "price" in row and row["price"] <= 4),
    ({"n": {"$gt": 1.5, "$lt": 5}}, lambda row: "n" in row and 1.5 < row["n"] < 5),
    ({"kind": {"$in": ["music", "sport"]}}, lambda row: row.get("kind") in ("music", "sport")),
    ({"n": {"$nin": [1, 2, 3]}}, lambda row: row.get("n") not in (1, 2, 3)),
    ({"price": {"$exists": True}}, lambda row: "price" in row),
    ({"price": {"$exists": False}}, lambda row: "price" not in row),
    ({"price": None}, lambda row: "price" not in row),
    ({"fresh": False}, lambda row: row.get("fresh") is False),
    ({"kind": {"$contains": "an"}}, lambda row: "an" in row.get("kind", "")),
    ({"tags": {"$contains": "vegan"}}, lambda row: "vegan" in row.get("tags", [])),
    ({"tags": {"$in": ["live", "mars"]}}, lambda row: bool({"live", "mars"} & set(row.get("tags", [])))),
    ({"kind": {"$prefix": "s"}}, lambda row: row.get("kind", "").startswith("s")),
    ({"id": {"$prefix": "."}}, lambda row: row["id"].startswith(".")),
    ({"day": {"$gte": "2024-01-01"}}, lambda row: (moment(row) or day("1970-01-01")) >= day("2024-01-01T00:00+00:00")),
    ({"day": "2024-02-11T13:30:00+01:00"}, lambda row: row["id"] == "soup"),
    ({"$and": [{"kind": "food"}, {"fresh": True}]}, lambda row: row.get("kind") == "food" and row.get("fresh", False)),
    ({"$or": [{"kind": "sport"}, {"n": {"$lt": 2}}]}, lambda row: row.get("kind") == "sport" or row.get("n", 9) < 2),
    ({"$not": {"kind": "food"}}, lambda row: row.get("kind") != "food"),
    ({"n": {"$not": {"$gt": 5}}}, lambda row: not ("n" in row and row["n"] > 5)),
]


@pytest.mark.parametrize(("filter", "passes"), FILTERS, ids=[str(filter) for filter, _ in FILTERS])
def test_a_filter_lets_through_what_plain_python_does(
    api: httpx.Client, filter: dict[str, Any], passes: Callable[[dict[str, Any]], bool]
) -> None:
    unfiltered = ids(api, text="anything", limit=ALL)
    expected = [id for id in unfiltered if passes(BY_ID[id])]
    assert expected
    assert ids(api, text="anything", limit=ALL, filter=filter) == expected


def test_a_rare_filter_still_fills_the_page_however_far_its_items_are(api: httpx.Client) -> None:
    rare = {"id": {"$in": ["%2F", "..", "soup"]}}
    assert set(ids(api, text="a kitten", limit=3, filter=rare)) == {"%2F", "..", "soup"}
    assert len(ids(api, text="a kitten", limit=2, filter=rare)) == 2
    assert len(ids(api, text="a kitten", limit=2, offset=2, filter=rare)) == 1


def test_each_query_of_a_batch_gets_its_own_answer_or_its_own_error(api: httpx.Client) -> None:
    good = [{"text": BREAD, "limit": 2}, {"id": "é", "include": []}, {"text": "the stock market", "filter": {"n": 41}}]
    bad: list[Any] = [{"id": "nobody"}, {"text": "x", "colour": 1}, {"text": "x", "filter": {"no": 1}}, {}, 7]
    queries = [one for pair in zip(good, bad, strict=False) for one in pair] + bad[3:]
    answer = api.post("/v1/collections/notes/search/batch", json={"queries": queries}).json()
    assert set(answer) == {"collection", "generation", "model", "took_ms", "results"}
    results = answer["results"]
    assert len(results) == len(queries)
    assert [results[i] for i in (0, 2, 4)] == [{"hits": hits(api, **query)} for query in good]
    errors = [results[i]["error"] for i in (1, 3, 5, 6, 7)]
    assert [error["code"] for error in errors] == [
        "item_not_found",
        "invalid_request",
        "invalid_filter",
        "invalid_request",
        "invalid_request",
    ]
    assert [error["param"] for error in errors[:3]] == ["id", "colour", "filter.no"]


def test_the_two_sides_of_a_comparison_may_be_items_texts_or_one_of_each(api: httpx.Client) -> None:
    bread, soup = BY_ID["bread"]["text"], BY_ID["soup"]["text"]
    by_id = compare(api, a={"id": "bread"}, b={"id": "soup"})
    assert set(by_id) == {"collection", "generation", "model", "took_ms", "similarity", "passages"}
    assert -1 <= by_id["similarity"] < 0.9
    for a, b in [
        ({"text": bread}, {"text": soup}),
        ({"id": "bread"}, {"text": soup}),
        ({"text": bread}, {"id": "soup"}),
        ({"id": "soup"}, {"id": "bread"}),
    ]:
        assert compare(api, a=a, b=b)["similarity"] == pytest.approx(by_id["similarity"], abs=2e-6)
    assert compare(api, a={"id": "bread"}, b={"id": "bread"})["similarity"] == 1.0


def test_pairs_are_the_best_matching_passages_each_in_one_pair_at_most(api: httpx.Client) -> None:
    answer = compare(api, a={"id": LONG_ID}, b={"id": LONG_ID}, pairs=100)
    passages = api.get(f"/v1/collections/notes/items/{LONG_ID}").json()["passages"]
    assert sorted(pair["a"]["start"] for pair in answer["passages"]) == [passage["start"] for passage in passages]
    assert all(pair["a"] == pair["b"] and pair["similarity"] == 1.0 for pair in answer["passages"])
    two = compare(api, a={"id": LONG_ID}, b={"text": LONG_TEXT}, pairs=2)
    assert len(two["passages"]) == 2
    assert two["similarity"] == two["passages"][0]["similarity"] >= two["passages"][1]["similarity"]
    for pair in two["passages"]:
        assert LONG_TEXT[pair["b"]["start"] : pair["b"]["end"]] == pair["b"]["text"]


def test_one_passage_is_not_paired_with_two_even_where_it_is_the_best_for_both(api: httpx.Client) -> None:
    bees, alien = LONG_TEXT.split("\n\n")[0], "Annual report 2021, table 7, see the appendix. " * 60
    pairs = compare(api, a={"id": LONG_ID}, b={"text": f"{bees}\n\n{alien}"}, pairs=100)["passages"]
    for side in ("a", "b"):
        starts = [pair[side]["start"] for pair in pairs]
        assert len(starts) > 2
        assert len(set(starts)) == len(starts)


def test_a_collection_that_keeps_no_texts_gives_offsets_and_null(api: httpx.Client) -> None:
    (hit,) = hits(api, "bare", text="an antique clock is repaired", limit=1, include=["text", "passages"])
    assert hit["id"] == LONG_ID
    assert hit["text"] is None
    assert hit["passage"]["text"] is None
    assert "clock" in LONG_TEXT[hit["passage"]["start"] : hit["passage"]["end"]]
    assert {passage["text"] for passage in hit["passages"]} == {None}
    item = api.get("/v1/collections/bare/items/bread").json()
    assert (item["text"], item["passages"]) == (None, [{"text": None, "start": 0, "end": len(BY_ID["bread"]["text"])}])
