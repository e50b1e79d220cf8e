"""Are the figures of the retrieval benchmark those that trec_eval would give?

The expected values are worked out by hand from the definitions.
"""

from __future__ import annotations

import importlib.util
import sys
from math import log2
from pathlib import Path
from types import ModuleType

import pytest

JUDGED = {"a": 3, "b": 2, "c": 1, "d": 0, "e": -1}


@pytest.fixture(scope="module")
def retrieval() -> ModuleType:
    """The script, which is in no installed package."""
    path = Path(__file__).parents[1] / "benchmarks" / "retrieval.py"
    spec = importlib.util.spec_from_file_location("benchmark_retrieval", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_ndcg_has_linear_gain_and_a_logarithmic_discount(retrieval: ModuleType) -> None:
    ideal = 3 + 2 / log2(3) + 1 / 2
    assert retrieval.ndcg(["b", "x", "a"], JUDGED, 10) == pytest.approx((2 + 3 / 2) / ideal)
    assert retrieval.ndcg(["b", "x", "a"], JUDGED, 10) == pytest.approx(0.7350, abs=5e-5)


def test_a_perfect_ranking_has_ndcg_one(retrieval: ModuleType) -> None:
    assert retrieval.ndcg(["a", "b", "c", "d"], JUDGED, 10) == pytest.approx(1)


def test_the_ideal_is_over_all_judged_documents_and_cut_at_k(retrieval: ModuleType) -> None:
    assert retrieval.ndcg(["a"], JUDGED, 10) == pytest.approx(3 / (3 + 2 / log2(3) + 1 / 2))
    assert retrieval.ndcg(["a"], JUDGED, 1) == pytest.approx(1)


def test_documents_judged_irrelevant_gain_nothing_and_cost_nothing(retrieval: ModuleType) -> None:
    assert retrieval.ndcg(["e", "d", "a"], JUDGED, 10) == retrieval.ndcg(["x", "y", "a"], JUDGED, 10)
    assert retrieval.ndcg(["d"], {"d": 0}, 10) == 0


def test_recall_counts_relevant_documents_among_the_first(retrieval: ModuleType) -> None:
    assert retrieval.recall(["a", "d", "x", "c"], JUDGED, 3) == pytest.approx(1 / 3)
    assert retrieval.recall(["a", "d", "x", "c"], JUDGED, 4) == pytest.approx(2 / 3)


def test_the_reciprocal_rank_is_that_of_the_first_relevant_document(retrieval: ModuleType) -> None:
    assert retrieval.reciprocal_rank(["x", "d", "c", "a"], JUDGED, 10) == pytest.approx(1 / 3)
    assert retrieval.reciprocal_rank(["x", "d", "c", "a"], JUDGED, 2) == 0


def test_a_query_without_an_answer_counts_as_nothing_found(retrieval: ModuleType) -> None:
    found = retrieval.figures({"q": ["a", "b", "c"]}, {"q": JUDGED, "unanswered": {"z": 1}})
    assert found == pytest.approx({"nDCG@10": 0.5, "recall@100": 0.5, "MRR@10": 0.5})
