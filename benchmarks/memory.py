"""Does indexing stay in bounded memory, however many items there are?

Many short items are indexed with a stub in the model's place, so that what is measured is Parecido: a first run; one
over the unchanged file; one in which a thousand items here and there changed and a thousand are gone; one in which
nothing but the metadata of every item changed, so that each vector is copied; and a rebuild, whose vectors come from
the embedding cache. Each is a fresh process, at two sizes ten apart. The peak of resident memory should hardly differ:
a ratio of at most 1.3; it leaves with code 1 where it is higher.

    python -m benchmarks.memory [--items 200000 2000000] [--exact] [--until RUN] [--dir FOLDER]

With --exact everything is to be found, so that indexes are written as they are made and what is seen is the run without
them; what a graph adds while it is built and tuned is seen in `growth`.

No data is needed: the items are made up as they are written. The larger size takes about 16 GB in --dir, two thirds of
that for the first three runs alone. `anonymous` is the part of the peak that the kernel cannot take back; the rest is
pages of mapped files, which it drops when memory is short (sampled every 20 ms from /proc, so absent outside Linux).

The stub makes vectors of 384 dimensions from a hash of the text; the tokenizer is the packaged model's own.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
from tokenizers import Tokenizer

from benchmarks._machine import Sampler
from indexer import models
from indexer.build import build
from indexer.config import DEFAULT_MODEL, CollectionSettings
from indexer.models import Allows, Embedded, Fingerprint, whatever_it_costs
from indexer.models.files import describe
from indexer.models.slices import embed_in_slices
from indexer.models.tokenizer import LocalTokenizer
from indexer.progress import progress
from indexer.report import ItemCounts
from indexer.vectors import Vectors, normalise

COLLECTION = "memory"
DIMENSION = 384
LIMIT = 1.3
RUNS = ("first", "unchanged", "changed", "metadata", "rebuilt")
EDITED = 1000
"""How many items change, and how many go: the same at both sizes, for what is changed is in memory window by window."""
SYLLABLES = ("chair", "table", "wood", "steel", "lamp", "shelf", "door", "light", "book", "stand", "glass", "box")
WORDS = [first + second for first in SYLLABLES for second in SYLLABLES]


class StubModel:
    """Makes a unit vector of every text, always the same one, at next to no cost."""

    fingerprint = Fingerprint("stub", "stub", "1", DIMENSION, "", "", "none", True)
    device = "cpu"
    numeric_path = "numpy float64 cpu"
    window = 256

    def __init__(self) -> None:
        self.tokenizer = LocalTokenizer(Tokenizer.from_file(str(describe(DEFAULT_MODEL).folder / "tokenizer.json")))

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """One row of length 1 for each text."""
        seeds = np.array([zlib.crc32(text.encode()) for text in texts], dtype=np.uint64)
        return normalise(_uniform(seeds[:, None] * np.uint64(DIMENSION) + np.arange(DIMENSION, dtype=np.uint64)))

    embed_query = embed_documents

    def embed_stream(self, texts: Sequence[str], allows: Allows = whatever_it_costs) -> Iterator[Embedded]:
        """One row for each, slice by slice."""
        return embed_in_slices(self.embed_documents, texts)

    def warm(self) -> None:
        """Nothing to wait for."""


def _uniform(counters: npt.NDArray[np.uint64]) -> npt.NDArray[np.float64]:
    """Numbers in [-1, 1) from counters: SplitMix64 (Steele, Lea and Flood 2014)."""
    z = (counters + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (z ^ (z >> np.uint64(31))).astype(np.float64) / 2.0**63 - 1


def write_items(path: Path, count: int, run: str) -> ItemCounts:
    """Made-up products, one a line, as they are for that run: the same ones for the same count; what it must find."""
    made, at, step = random.Random(count), RUNS.index(run), count // EDITED
    edited = at >= RUNS.index("changed")
    with path.open("wb") as file:
        for number in range(count):
            which = number % step if edited and number < EDITED * step else None
            text = f"{' '.join(made.choices(WORDS, k=8))}, model {number}"
            item = {
                "id": f"item-{number:09d}",
                "text": f"{text}, revised" if which == 1 else text,
                "category": WORDS[number % 12],
                "price": round(made.uniform(1, 900), 2),
                "year": 2000 + number % 26 + (at >= RUNS.index("metadata")),
            }
            if which != 0:
                file.write(orjson.dumps(item) + b"\n")
    left = count - EDITED
    expected = {
        "first": (count, 0, 0, 0),
        "unchanged": (0, 0, count, 0),
        "changed": (0, EDITED, left - EDITED, EDITED),
        "metadata": (0, left, 0, 0),
        "rebuilt": (0, 0, left, 0),
    }
    return ItemCounts(*expected[run], rejected=0, held=0)


def child(items: Path, store: Path, rebuild: bool, exact: bool) -> None:
    """One run with the stub in this process; prints its report as JSON."""
    model = StubModel()
    models.identify = lambda *_: model.fingerprint
    models.load = lambda *_: model
    settings = CollectionSettings(source=(str(items),), keep_generations=1, keep_days=0)
    if exact:
        settings = settings.model_copy(update={"recall": "exact"})
    sampler = Sampler()
    sampler.start()
    report = build(store, COLLECTION, settings, progress(COLLECTION), rebuild=rebuild)
    print(orjson.dumps({"report": report, "anonymous": sampler.stop()}).decode())


def measure(count: int, runs: Sequence[str], folder: Path, exact: bool) -> dict[str, dict[str, Any]]:
    """The runs over so many items; what they leave on disk is removed."""
    items, store = folder / "items.jsonl", folder / "store"
    try:
        found = {}
        for run in runs:
            expected = write_items(items, count, run)
            command = [sys.executable, "-m", "benchmarks.memory", "--child", str(items), str(store)]
            command += ["rebuilt"] * (run == "rebuilt") + ["--exact"] * exact
            out = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
            found[run] = json.loads(out)
            _print(count, run, found[run])
            if found[run]["report"]["items"] != asdict(expected):
                raise SystemExit(f"the {run} run over {count} items should have found {expected}")
        return found
    finally:
        items.unlink(missing_ok=True)
        shutil.rmtree(store, ignore_errors=True)


def _print(count: int, run: str, found: dict[str, Any]) -> None:
    report = found["report"]
    anonymous = "" if found["anonymous"] is None else f" (anonymous {found['anonymous']:,})"
    stages = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in report["seconds"].items())
    print(f"{count:,} items, {run} run: peak_rss_bytes {report['peak_rss_bytes']:,}{anonymous}")
    print(f"    seconds: {stages}", flush=True)


def main() -> int:
    """Measure both sizes and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs=2, default=(200_000, 2_000_000), metavar="N", help="the two sizes")
    parser.add_argument("--exact", action="store_true", help="have everything found, so that no index is tuned")
    parser.add_argument("--until", choices=RUNS, default=RUNS[-1], help="the last run (default: %(default)s)")
    parser.add_argument("--dir", type=Path, help="folder for items and store (default: a temporary one)")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        items, store, *rebuilt = options.child
        child(Path(items), Path(store), bool(rebuilt), options.exact)
        return 0
    runs = RUNS[: RUNS.index(options.until) + 1]
    with tempfile.TemporaryDirectory(prefix="parecido-", dir=options.dir) as temporary:
        small, large = (measure(count, runs, Path(temporary), options.exact) for count in options.items)
    ratios = {run: large[run]["report"]["peak_rss_bytes"] / small[run]["report"]["peak_rss_bytes"] for run in runs}
    print("ratio of the peaks: " + ", ".join(f"{run} run {ratio:.2f}" for run, ratio in ratios.items()))
    return int(max(ratios.values()) > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
