"""Does Parecido find what people judged relevant as well as its model can?

Any data set in BEIR form is indexed and searched by the product itself: passages, index, folding and all. Beside it
stands the reference: sentence-transformers' own `encode` of the same texts, each cut off at the model's window, ranked
by numpy. Parecido must reach the reference's nDCG@10 less 0.005; it leaves with code 1 where it does not.

    python -m benchmarks.retrieval FOLDER [--model NAME] [--tokens N] [--overlap N] [--store DIR]

FOLDER is any BEIR folder: `corpus.jsonl` (`_id`, `title`, `text`), `queries.jsonl` (`_id`, `text`), each plain or
gzip, and `qrels/test.tsv`. The data sets are listed on the page of the BEIR project; SciFact is a good first one.

nDCG is that of trec_eval: linear gain, discount log2(rank + 1), the ideal over all judged documents (Järvelin and
Kekäläinen 2002). A document with the id of the query is left out of its ranking, as BEIR does.
"""

from __future__ import annotations

import argparse
import gzip
import math
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from indexer import models
from indexer.build import build
from indexer.config import DEFAULT_MODEL, CollectionSettings, PassageSettings
from indexer.models.files import describe
from indexer.progress import progress
from indexer.queries import Query, search
from indexer.report import Report
from indexer.snapshot import open_newest
from indexer.storage import collection_folder

COLLECTION = "beir"
RANKED = 100
TOLERANCE = 0.005
METRICS = ("nDCG@10", "recall@100", "MRR@10")

Judged = Mapping[str, int]
Rankings = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Task:
    """What is searched, by what, and what people judged."""

    corpus: Path
    queries: Mapping[str, str]
    qrels: Mapping[str, Judged]


def ndcg(ranking: Sequence[str], judged: Judged, k: int) -> float:
    """Normalised discounted cumulative gain of the first k; 0 where nothing is relevant."""
    ideal = _gain(sorted(judged.values(), reverse=True)[:k])
    return _gain([judged.get(id, 0) for id in ranking[:k]]) / ideal if ideal else 0.0


def recall(ranking: Sequence[str], judged: Judged, k: int) -> float:
    """The share of the relevant documents that are among the first k."""
    relevant = {id for id, grade in judged.items() if grade > 0}
    return len(relevant.intersection(ranking[:k])) / len(relevant) if relevant else 0.0


def reciprocal_rank(ranking: Sequence[str], judged: Judged, k: int) -> float:
    """One over the rank of the first relevant document, 0 where none is among the first k."""
    return next((1 / rank for rank, id in enumerate(ranking[:k], 1) if judged.get(id, 0) > 0), 0.0)


def figures(rankings: Rankings, qrels: Mapping[str, Judged]) -> dict[str, float]:
    """The means over all judged queries; one without a ranking counts as nothing found."""
    rows = [
        (ndcg(ranking, judged, 10), recall(ranking, judged, 100), reciprocal_rank(ranking, judged, 10))
        for ranking, judged in ((rankings.get(query, ()), judged) for query, judged in qrels.items())
    ]
    return dict(zip(METRICS, np.mean(rows, axis=0).tolist(), strict=True))


def _gain(grades: Sequence[int]) -> float:
    return sum(max(grade, 0) / math.log2(rank + 1) for rank, grade in enumerate(grades, 1))


def read_task(folder: Path, split: str) -> Task:
    """The judged queries of a split; raises FileNotFoundError where a file is missing."""
    qrels: dict[str, dict[str, int]] = {}
    for line in (folder / "qrels" / f"{split}.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        query, document, grade = line.split("\t")
        qrels.setdefault(query, {})[document] = int(grade)
    queries = {row["_id"]: row["text"] for row in _rows(_find(folder, "queries")) if row["_id"] in qrels}
    return Task(_find(folder, "corpus"), queries, qrels)


def _find(folder: Path, name: str) -> Path:
    found = [path for path in (folder / f"{name}.jsonl", folder / f"{name}.jsonl.gz") if path.exists()]
    if not found:
        raise FileNotFoundError(f"There is no {name}.jsonl or {name}.jsonl.gz in {folder}: give a BEIR folder.")
    return found[0]


def _rows(path: Path) -> list[dict[str, Any]]:
    with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
        return [orjson.loads(line) for line in file if line.strip()]


def product(task: Task, store: Path, model: str, passages: PassageSettings) -> tuple[Report, Rankings]:
    """Index with Parecido and ask it every query."""
    settings = CollectionSettings(
        source=(str(task.corpus),), id="_id", text=("title", "text"), metadata=(), model=model, passages=passages
    )
    report = build(store, COLLECTION, settings, progress(COLLECTION))
    snapshot = open_newest(collection_folder(store, COLLECTION))
    loaded = models.load(snapshot.generation.fingerprint)
    rankings = {}
    for id, text in task.queries.items():
        answer = search(snapshot, lambda: loaded, Query(text=text, limit=RANKED + 1, include=()))
        rankings[id] = [hit["id"] for hit in answer["hits"] if hit["id"] != id][:RANKED]
    return report, rankings


def reference(task: Task, model: str) -> Rankings:
    """Rank by sentence-transformers and numpy alone, with the model's own prompts and truncation."""
    from sentence_transformers import SentenceTransformer

    files = describe(model)
    encoder = SentenceTransformer(str(files.folder))
    rows = _rows(task.corpus)
    ids = [row["_id"] for row in rows]
    texts = ["\n\n".join(part for part in (row.get("title"), row["text"]) if part) for row in rows]
    bar = sys.stderr.isatty()
    options = {"normalize_embeddings": True, "show_progress_bar": bar}
    documents = encoder.encode(texts, prompt=files.document_prompt, **options)
    queries = encoder.encode(list(task.queries.values()), prompt=files.query_prompt, **options)
    order = np.argsort(-(queries @ documents.T), axis=1, kind="stable")[:, : RANKED + 1]
    ranked = ([ids[row] for row in best] for best in order)
    return {
        query: [id for id in best if id != query][:RANKED] for query, best in zip(task.queries, ranked, strict=True)
    }


def main() -> int:
    """Measure, print, and say by the exit code whether the promise holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a BEIR folder")
    parser.add_argument("--split", default="test", help="the file of qrels/ (default: test)")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="a model's name or folder (default: %(default)s)")
    parser.add_argument("--tokens", type=int, help="passages.tokens (default: the product's)")
    parser.add_argument("--overlap", type=int, help="passages.overlap (default: the product's)")
    parser.add_argument("--store", type=Path, help="keep the store here (default: a temporary one)")
    parser.add_argument("--no-reference", action="store_true", help="measure Parecido alone")
    options = parser.parse_args()
    task = read_task(options.folder, options.split)
    print(f"{options.folder.name}, {options.split}: {len(task.queries)} queries, model {options.model}")
    with tempfile.TemporaryDirectory(prefix="parecido-") as temporary:
        began = time.monotonic()
        passages = PassageSettings(tokens=options.tokens, overlap=options.overlap)
        report, rankings = product(task, options.store or Path(temporary), options.model, passages)
        ours = figures(rankings, task.qrels)
    items, total = report.items, report.passages.total
    print(f"{items.added + items.changed + items.unchanged} documents, {total} passages, {items.rejected} rejected")
    _line("", METRICS, "seconds")
    _line("Parecido", [f"{ours[name]:.4f}" for name in METRICS], f"{time.monotonic() - began:.0f}")
    if options.no_reference:
        return 0
    began = time.monotonic()
    theirs = figures(reference(task, options.model), task.qrels)
    _line("reference", [f"{theirs[name]:.4f}" for name in METRICS], f"{time.monotonic() - began:.0f}")
    _line("difference", [f"{ours[name] - theirs[name]:+.4f}" for name in METRICS], "")
    return int(ours["nDCG@10"] < theirs["nDCG@10"] - TOLERANCE)


def _line(label: str, cells: Sequence[str], last: str) -> None:
    print(f"{label:<12}" + "".join(f"{cell:>12}" for cell in cells) + f"{last:>10}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
