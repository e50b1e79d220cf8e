"""Are peers asked, judged and reported rightly by the benchmark that compares them with the service?

No peer is installed: one made of numpy stands in for them, filled and asked by the same scripts as they are.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import orjson
import pytest

from benchmarks import _peer_processes, _stored, peers, stores
from benchmarks._exact import Exact, Recall
from benchmarks._peer_processes import Filled, NotMeasured, install, requirements, serving
from benchmarks._peer_report import Comparison, Row, good, measured, table
from benchmarks._peers import OURS, PARECIDO, PEERS
from benchmarks.load import Outcome

ROOT = Path(__file__).parents[1]
CHROMA = PEERS["chroma"]


def bodies(request: bytes) -> tuple[str, dict[str, object]]:
    """The first line and the body of a request, whose length is what its head says."""
    head, _, body = request.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    assert int(length[1] if length else 0) == len(body)
    return head.partition(b"\r\n")[0].decode(), orjson.loads(body) if body else {}


def fake_python(venv: Path, script: str) -> None:
    """A virtual environment whose interpreter does as the shell script says."""
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").write_text(f"#!/bin/sh\n{script}\n")
    (venv / "bin" / "python").chmod(0o755)


# Which hits count


VECTORS = np.eye(4, 3, dtype=np.float32)[[0, 0, 1, 2]] * np.array([[1], [1], [0.5], [0.25]], dtype=np.float32)
QUERY = np.ones(3, dtype=np.float32)


def judge(*answer: str, ids: Sequence[str] = "abcd", share: int | None = None) -> Recall:
    """An answer to who wants two, by a query that is as like to `a` as to `b`, less so to `c`, least to `d`."""
    return Exact(ids, VECTORS, np.array([5, 1, 5, 0])).recall([(QUERY, answer)], share, limit=2)


def test_all_of_the_nearest_are_a_recall_of_one() -> None:
    assert judge("a", "b") == Recall(1.0, 0, 1)


def test_a_hit_that_is_not_among_the_nearest_counts_as_not_found() -> None:
    assert judge("a", "c") == Recall(0.5, 0, 1)


def test_of_equal_ones_any_will_do() -> None:
    exact = Exact("abcd", VECTORS[[0, 2, 2, 3]], np.zeros(4))
    assert exact.recall([(QUERY, ["a", "b"]), (QUERY, ["c", "a"])], None, limit=2).share == 1


def test_neither_twice_the_same_nor_an_unknown_id_counts() -> None:
    assert judge("a", "a").share == 0.5
    assert judge("a", "nobody").share == 0.5


def test_an_answer_with_too_few_is_short() -> None:
    assert judge("a") == Recall(0.5, 1, 1)


def test_what_a_filter_does_not_let_through_does_not_count() -> None:
    assert judge("b", "d", share=5) == Recall(1.0, 0, 1)
    assert judge("a", "b", share=5) == Recall(0.5, 0, 1)


def test_an_answer_is_not_short_where_no_more_pass() -> None:
    assert judge("d", share=1) == Recall(1.0, 0, 1)


def test_an_item_is_as_near_as_its_nearest_passage() -> None:
    assert judge("x", "c", ids="xxcd").share == 1
    assert judge("c", "d", ids="xxcd").share == 0.5


def test_recall_is_over_all_that_could_be_found() -> None:
    exact = Exact("abcd", VECTORS, np.zeros(4))
    assert exact.recall([(QUERY, ["a", "b"]), (QUERY, ["a"])], None, limit=2) == Recall(0.75, 1, 2)


# How a server is asked


@pytest.mark.parametrize("share", [None, 10])
def test_the_service_and_the_bare_endpoints_are_asked_for_ten_with_the_filter(share: int | None) -> None:
    line, body = bodies(PARECIDO.request(OURS, [0.5, 1.0], share))
    assert line == "POST /v1/collections/asked/search HTTP/1.1"
    assert body == {"vector": [0.5, 1.0], "limit": 10, **({"filter": {"share": {"$lt": 10}}} if share else {})}
    assert bodies(PARECIDO.request(OURS, "a lamp", None))[1] == {"text": "a lamp", "limit": 10}
    line, body = bodies(PEERS["pgvector"].form.request("/search", [0.5], share))
    assert (line, body) == (
        "POST /search HTTP/1.1",
        {"vector": [0.5], "limit": 10, **({"share": 10} if share else {})},
    )


def test_chroma_is_asked_for_ten_with_all_that_was_stored() -> None:
    line, body = bodies(CHROMA.form.request("/somewhere/query", [0.5], None))
    assert line == "POST /somewhere/query HTTP/1.1"
    assert body == {
        "query_embeddings": [[0.5]],
        "n_results": 10,
        "include": ["metadatas", "documents", "distances"],
    }
    assert bodies(CHROMA.form.request("/", [0.5], 1))[1]["where"] == {"share": {"$lt": 1}}


def test_a_text_reaches_txtai_whatever_is_in_it() -> None:
    text = "it's 50 % & 'more' = #1?"
    line, _ = bodies(PEERS["txtai"].form.request("/search", text, 50))
    method, target, version = line.split(" ")
    asked = parse_qs(urlsplit(target).query)
    assert (method, urlsplit(target).path, version, asked["limit"]) == ("GET", "/search", "HTTP/1.1", ["10"])
    assert orjson.loads(asked["parameters"][0]) == {"asked": text}
    assert asked["query"] == ["select id, text, score, data from txtai where similar(:asked) and share < 50"]


def test_ids_are_read_from_answers_as_each_writes_them() -> None:
    hits = b'{"hits": [{"id": "b"}, {"id": "a"}]}'
    assert PARECIDO.ids(hits) == PEERS["milvus"].form.ids(hits) == ["b", "a"]
    assert CHROMA.form.ids(b'{"ids": [["b", "a"]], "distances": [[0.1, 0.2]]}') == ["b", "a"]
    assert PEERS["txtai"].form.ids(b'[{"id": "b", "score": 0.9}, {"id": "a", "score": 0.8}]') == ["b", "a"]


def test_no_text_is_asked_in_two_loads() -> None:
    server = peers.Side("it", PARECIDO, OURS, 1).server(["a lamp", "a door"], (None, 1))
    seen = [request for _ in range(2) for load in server.kinds.values() for request in load()]
    assert len(set(seen)) == len(seen) == 8
    assert set(server.kinds) == {"text", "text, 1 % pass"}


# What a peer is filled with


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> stores.Asked:
    """A small store as the benchmarks make it."""
    return stores.make(tmp_path_factory.mktemp("store"), None, 300, 20)


def test_a_peer_is_filled_with_what_the_store_holds(asked: stores.Asked, tmp_path: Path) -> None:
    stored = _stored.read(asked.snapshot)
    _stored.write(asked.snapshot, stored, tmp_path)
    rows = [orjson.loads(line) for line in (tmp_path / "rows.jsonl").read_bytes().splitlines()]
    vectors = np.load(tmp_path / "vectors.npy")
    assert sorted(row["id"] for row in rows) == [f"item-{number:09d}" for number in range(300)]
    items = {row["id"]: row for row in map(orjson.loads, (asked.store / "items.jsonl").read_bytes().splitlines())}
    made = stores.Clustered()
    for row, vector, share in zip(rows, vectors, stored.shares, strict=True):
        item = items[row["id"]]
        assert row["text"] == f"{item.pop('title')}\n\n{item.pop('text')}"
        assert {"id": row["id"], **row["metadata"]} == item
        assert share == item["share"]
        np.testing.assert_allclose(vector, made.embed_documents([row["text"]])[0], atol=1e-6)


def test_every_passage_has_an_id_of_its_own() -> None:
    stored = _stored.Stored(["a", "a", "b", "a"], np.zeros((4, 1), dtype=np.float32), np.zeros(4))
    assert stored.ids == ["a", "a\n1", "b", "a\n2"]


# What goes wrong


def test_what_peers_need_is_pinned_and_names_no_host() -> None:
    for name in PEERS:
        assert requirements(name)
        assert all(re.fullmatch(r"[\w-]+(\[[\w,]+\])?==[\d.]+", line) for line in requirements(name))
        assert (ROOT / "benchmarks" / "peer_servers" / f"serve_{name}.py").exists()


def test_a_peer_is_installed_once(tmp_path: Path) -> None:
    fake_python(tmp_path, f"echo $@ >> {tmp_path}/asked")
    assert install(CHROMA, tmp_path) > 0
    assert install(CHROMA, tmp_path) == 0
    (line,) = (tmp_path / "asked").read_text().splitlines()
    assert line == f"-m pip install --quiet --disable-pip-version-check {' '.join(requirements('chroma'))}"


def test_a_peer_that_cannot_be_installed_says_why_and_is_tried_again(tmp_path: Path) -> None:
    fake_python(tmp_path, "echo 'WARNING: old' >&2; echo 'ERROR: No matching distribution.' >&2; exit 1")
    for _ in range(2):
        with pytest.raises(NotMeasured, match=r"It cannot be installed: ERROR: No matching distribution\."):
            install(CHROMA, tmp_path)


def test_a_peer_that_does_not_start_says_why(tmp_path: Path) -> None:
    fake_python(tmp_path, "echo 'address taken' >&2; exit 3")
    with pytest.raises(NotMeasured, match="It does not start: address taken"), serving(CHROMA, tmp_path, tmp_path):
        pytest.fail("it did not start")


def test_the_others_go_on_and_the_exit_code_says_that_some_were_not_measured(tmp_path: Path) -> None:
    fake_python(
        tmp_path, 'case "$*" in *chromadb*) echo no chroma >&2; exit 1;; *fill*) echo no room >&2; exit 1;; esac'
    )
    command = [sys.executable, "-m", "benchmarks.peers", "--items", "50", "--venv", str(tmp_path)]
    done = subprocess.run([*command, "--peers", "chroma", "milvus"], cwd=ROOT, capture_output=True, text=True)
    assert "Chroma is not measured. It cannot be installed: no chroma" in done.stdout
    assert "milvus-lite is not measured. It cannot be filled: no room" in done.stdout
    assert done.returncode == 2, done.stderr


# A whole comparison


def test_a_peer_is_filled_asked_in_turns_and_judged(
    asked: stores.Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_python(tmp_path / "venv", f'exec {sys.executable} "$@"')
    shutil.copy(ROOT / "benchmarks" / "peer_servers" / "_bare.py", tmp_path)
    shutil.copy(ROOT / "tests" / "brute_force_peer.py", tmp_path / "serve_pgvector.py")
    monkeypatch.setattr(_peer_processes, "SERVERS", tmp_path)
    monkeypatch.setattr(peers, "WORKERS", (1,))
    monkeypatch.setattr(peers, "PLAIN", {"vector": (2,)})
    monkeypatch.setattr(peers, "SHARES", (10,))
    stored = _stored.read(asked.snapshot)
    (tmp_path / "made").mkdir()
    _stored.write(asked.snapshot, stored, tmp_path / "made")
    items, rows = (Exact(ids, stored.vectors, stored.shares) for ids in (stored.items, stored.ids))
    ground = peers.Ground(asked, tmp_path / "made", items, rows, tmp_path / "venv", rounds=2, seconds=0.2)

    seen = peers.compare(PEERS["pgvector"], ground)

    kinds = ["vector", "vector, 10 % pass"]
    assert [(row.kind, row.clients, row.failures) for row in seen.rows] == [(kinds[0], 2, 0), (kinds[1], 8, 0)]
    assert all(len(row.ours) == len(row.theirs) == 2 for row in seen.rows)
    assert {kind: recall.share for kind, recall in seen.recall.items()} == dict.fromkeys(kinds, 1.0)
    assert {kind: recall.share for kind, recall in seen.our_recall.items()} == dict.fromkeys(kinds, 1.0)
    assert all(outcome.answers for row in seen.rows for outcome in (*row.ours, *row.theirs))
    assert seen.filled.about == "Brute Force 1.0"
    assert min(seen.memory, *seen.our_memory.values()) > 10_000_000
    assert good(seen)


# What is reported


def outcome(rate: int, failures: int = 0) -> Outcome:
    """A load of one second."""
    return Outcome(rate, failures, 1.0, 1.5, 3.0)


def comparison(ours: Sequence[Outcome], theirs: Sequence[Outcome]) -> Comparison:
    """Chroma beside the service, as far as the aim goes."""
    recall = {"vector": Recall(0.98, 3, 100)}
    row = Row("vector", 8, 2, ours, theirs)
    return Comparison(CHROMA, Filled("Chroma 1.0", 2.5, "/"), [row], recall, recall, {2: 3_000_000}, 4_000_000)


def test_the_ratio_is_taken_round_by_round_and_held_against_the_aim() -> None:
    seen = comparison([outcome(1000), outcome(500), outcome(200)], [outcome(50), outcome(50), outcome(20)])
    (ratio,) = [one for one in measured(seen) if one.column == "of the peer's rate"]
    assert (ratio.median, ratio.least, ratio.most, ratio.rounds) == (10, 10, 20, 3)
    assert ratio.aim is not None
    assert good(seen)
    assert not good(comparison([outcome(90)], [outcome(10)]))


def test_an_answer_that_failed_is_not_good_on_either_side() -> None:
    assert not good(comparison([outcome(1000, failures=1)], [outcome(10)]))
    assert not good(comparison([outcome(1000)], [outcome(10, failures=1)]))


def test_a_round_without_any_answer_has_no_ratio() -> None:
    assert comparison([outcome(10), outcome(30)], [outcome(0), outcome(1)]).rows[0].ratios == [30]


def test_both_sides_stand_beside_each_other_with_what_they_find() -> None:
    seen = comparison([outcome(1000)], [outcome(100)])
    figures = {(one.what, one.column): (one.median, one.unit) for one in measured(seen)}
    assert figures["vector, 8 connections: Parecido, 2 workers", "answers"] == (1000, "/s")
    assert figures["vector, 8 connections: Chroma, beside 2", "answers"] == (100, "/s")
    assert figures["vector, 8 connections: Chroma, beside 2", "recall"] == (0.98, "")
    assert figures["vector, 8 connections: Chroma, beside 2", "short answers"] == (0.03, "")
    assert figures["Parecido, 2 workers", "memory"] == (3, "MB")
    assert figures["Chroma", "filling"] == (2.5, "s")
    *_, ours, theirs = table(seen)
    assert " ".join(ours.split()) == "Parecido, 2 workers vector 8 1000 1000 1000 1.50 3.00 0.9800 3 10.00"
    assert " ".join(theirs.split()) == "Chroma vector 8 100 100 100 1.50 3.00 0.9800 3"
