"""Does a run cost what changed, and not what there is?

The items of a file are indexed by `parecido index … --json`, each run in a fresh process: everything, then with nothing
changed, then with 100 items changed, 10 removed and 10 added, then with 1 % changed. Beside the figures it checks that
each distinct passage was embedded once, counted from what the store has held before and holds after, and that 50 items
that nobody touched answer a search by their id as before. Every changed text is one that was never seen, so that the
embedding cache spares none of them.

The aims: with nothing changed a run takes at most 1 % of the first one's time and loads no model, with 1 % changed at
most 3 %, the loading of the model left out of both times compared. It leaves with code 1 where a check or an aim fails.

    python -m benchmarks.reindex FILE [--first N] [--model NAME] [--dir FOLDER]

FILE is any JSON Lines file, plain or gzip, with the fields `id` and `text`, and `title` and others if there are any:
the packages of a distribution, the articles of a site.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import orjson

from indexer.config import DEFAULT_MODEL
from indexer.queries import Query, search
from indexer.report import STAGES
from indexer.snapshot import Snapshot, open_newest
from indexer.storage import collection_folder

COLLECTION = "reindex"
UNTOUCHED = 50
PAGE = 10
NOTHING, ONE_PERCENT = 0.01, 0.03
"""The most of the first run's time that a run with nothing changed and one with 1 % changed may take."""
TOLD = """
import atexit, sys
atexit.register(lambda: print("torch" in sys.modules))
from service.cli import main
main()
"""
"""The command, which says at last whether it has loaded what a model needs."""

Row = dict[str, Any]
Nearest = Mapping[str, list[tuple[str, float]]]


@dataclass(frozen=True)
class Edit:
    """What is done to the source before a run: rows by number, and how many are added."""

    name: str
    """What the texts of changed and added items say; another one for each edit of a file."""
    changed: frozenset[int]
    removed: frozenset[int] = frozenset()
    added: int = 0


@dataclass(frozen=True)
class Touched:
    """The ids that an edit concerned."""

    changed: list[str]
    removed: list[str]
    added: list[str]


def read(file: Path) -> Iterator[Row]:
    """The rows that have any text."""
    with (gzip.open if file.suffix == ".gz" else open)(file, "rb") as lines:
        rows = (orjson.loads(line) for line in lines if line.strip())
        yield from (row for row in rows if f"{row.get('title') or ''}{row.get('text') or ''}".strip())


def write(file: Path, rows: Iterable[Row]) -> int:
    """Replace the file by these rows, which may be read from it meanwhile; returns how many there were."""
    count = 0
    with (new := file.with_suffix(".new")).open("wb") as out:
        for row in rows:
            out.write(orjson.dumps(row) + b"\n")
            count += 1
    os.replace(new, file)
    return count


def apply(edit: Edit, file: Path) -> Touched:
    """Edit the source: a changed text gets a last paragraph, an added item is like one that is there."""
    touched = Touched([], [], [])

    def edited() -> Iterator[Row]:
        for number, row in enumerate(read(file)):
            if number < edit.added:
                touched.added.append(f"added-{number}-in-{edit.name}")
                yield {**row, "id": touched.added[-1], "text": f"{row.get('text') or ''}\n\nAdded in {edit.name}."}
            if number in edit.removed:
                touched.removed.append(row["id"])
                continue
            if number in edit.changed:
                touched.changed.append(row["id"])
                row["text"] = f"{row.get('text') or ''}\n\nRevised in {edit.name}."
            yield row

    write(file, edited())
    return touched


def run_index(file: Path, store: Path, model: str) -> Row:
    """One run in a fresh process: its report, `wall` seconds with the process's start, whether it `loaded` a model."""
    command = [sys.executable, "-c", TOLD, "index", str(file), "--store", str(store), "--json"]
    options = ["--collection", COLLECTION, "--text", "title", "--text", "text", "--model", model]
    began = time.monotonic()
    done = subprocess.run([*command, *options], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit(f"parecido index left with code {done.returncode}: {done.stdout}")
    report, loaded = done.stdout.splitlines()
    return {**json.loads(report), "loaded": loaded == "True", "wall": time.monotonic() - began}


def apart(report: Row) -> float:
    """The seconds of a run, the loading of its model left out."""
    seconds: Mapping[str, float] = report["seconds"]
    return seconds["total"] - seconds["model"]


def no_model() -> NoReturn:
    """What a search by id has for a model."""
    raise AssertionError("a search by id needs no model")


def nearest(snapshot: Snapshot, ids: Collection[str], limit: int) -> Nearest:
    """The items nearest to each of these."""
    answers = {id: search(snapshot, no_model, Query(id=id, limit=limit, include=())) for id in ids}
    return {id: [(hit["id"], hit["similarity"]) for hit in answer["hits"]] for id, answer in answers.items()}


def passages(snapshot: Snapshot) -> set[bytes]:
    """The hashes of the passages of all its segments."""
    return {hash for part in snapshot.segments for hash in part.segment.passage_hashes.to_pylist()}


class Bench:
    """The runs one after the other over one file and one store."""

    def __init__(self, file: Path, store: Path, model: str) -> None:
        self._file, self._store, self._model = file, store, model
        self._first: Row | None = None
        self._embedded: set[bytes] = set()
        self.failures = 0

    def full(self, count: int) -> None:
        """Everything."""
        report = self._run("everything")
        done = report["passages"]
        self._check(report["items"]["added"] == count, f"{report['items']['added']} of {count} items added")
        self._check(done["embedded"] + done["cached"] == done["total"], f"{done} passages")
        self._check_embedded(report)

    def nothing(self) -> None:
        """The same file again."""
        report = self._run("nothing changed")
        self._check(not report["published"] and report["passages"]["embedded"] == 0, "nothing embedded or published")
        self._check(not report["loaded"], "no model loaded")
        self._check_time(report, report["seconds"]["total"], NOTHING)

    def one_percent(self, count: int) -> None:
        """One item in a hundred gets another text."""
        changed = random.Random(2).sample(range(count), count // 100)
        report = self.edit("1 % changed", Edit("one-percent", frozenset(changed)))
        embedded, cached = report["passages"]["embedded"], report["passages"]["cached"]
        made = f"{embedded} passages embedded and {cached} that repeat"
        self._check(embedded + cached >= len(changed), f"{made} for {len(changed)} changed items")
        self._check_time(report, apart(report), ONE_PERCENT)

    def edit(self, label: str, edit: Edit) -> Row:
        """An edited file, and all that must hold afterwards; returns the run's report."""
        before = self._snapshot()
        touched = apply(edit, self._file)
        concerned = {*touched.changed, *touched.removed, *touched.added}
        sampled = self._untouched(concerned)
        margin = PAGE + len(concerned)
        answers = nearest(before, sampled, margin)
        report = self._run(label)
        after = self._snapshot()
        counts = tuple(report["items"][what] for what in ("changed", "deleted", "added"))
        wanted = (len(touched.changed), len(touched.removed), len(touched.added))
        self._check(counts == wanted, f"changed, removed, added: {counts}, made {wanted}")
        self._check_embedded(report)
        same = sum(
            _without(hits, concerned) == _without(answers[id], concerned)
            for id, hits in nearest(after, sampled, margin).items()
        )
        self._check(same == len(sampled), f"{same} of {len(sampled)} untouched items answer as before")
        return report

    def _snapshot(self) -> Snapshot:
        return open_newest(collection_folder(self._store, COLLECTION))

    def _untouched(self, concerned: Collection[str]) -> list[str]:
        ids = [row["id"] for row in read(self._file) if row["id"] not in concerned]
        return random.Random(1).sample(ids, min(UNTOUCHED, len(ids)))

    def _run(self, label: str) -> Row:
        report = run_index(self._file, self._store, self._model)
        self._first = first = self._first or report
        total, seconds, peak = report["seconds"]["total"], report["seconds"], report["peak_rss_bytes"]
        whole, left = total / first["seconds"]["total"], apart(report) / apart(first)
        print(f"{label}: {total:.2f} s, {report['wall']:.2f} s with the process's start; of the first {whole:.4f}")
        print(f"    without loading the model: {apart(report):.2f} s; of the first {left:.4f}")
        print("    seconds: " + ", ".join(f"{stage} {seconds[stage]:.2f}" for stage in STAGES))
        print(f"    passages: {report['passages']}")
        print(f"    segments: {report['segments']}")
        print(f"    peak_rss_bytes {peak:,}; of the first {peak / first['peak_rss_bytes']:.2f}", flush=True)
        return report

    def _check_time(self, report: Row, seconds: float, most: float) -> None:
        """Whether a run took no more than that share of the first, which is counted without loading the model."""
        share = seconds / apart(self._first or report)
        self._check(share <= most, f"{share:.4f} of the first run's time, at most {most} is the aim")

    def _check_embedded(self, report: Row) -> None:
        new = passages(self._snapshot()) - self._embedded
        embedded = report["passages"]["embedded"]
        self._check(embedded == len(new), f"{embedded} passages embedded, {len(new)} were never embedded before")
        self._embedded |= new

    def _check(self, holds: bool, what: str) -> None:
        self.failures += not holds
        print(f"    {'ok' if holds else 'WRONG'}: {what}", flush=True)


def _without(hits: Iterable[tuple[str, float]], concerned: Collection[str]) -> list[tuple[str, float]]:
    return [hit for hit in hits if hit[0] not in concerned][:PAGE]


def main() -> int:
    """Index, edit, and index again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="items as JSON Lines, plain or gzip")
    parser.add_argument("--first", type=int, help="only the first N items")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="a model's name or folder (default: %(default)s)")
    parser.add_argument("--dir", type=Path, help="folder for the items and the store (default: a temporary one)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="parecido-", dir=options.dir) as temporary:
        file = Path(temporary) / "items.jsonl"
        count = write(file, itertools.islice(read(options.file), options.first))
        if count < 400:
            parser.error(f"{options.file} has {count} items with text; 400 are needed.")
        print(f"{options.file.name}: {count} items, model {options.model}")
        bench = Bench(file, Path(temporary) / "store", options.model)
        bench.full(count)
        bench.nothing()
        rows = random.Random(0).sample(range(count), 110)
        bench.edit(
            "100 changed, 10 removed, 10 added", Edit("some", frozenset(rows[:100]), frozenset(rows[100:]), added=10)
        )
        bench.one_percent(count)
    return int(bench.failures > 0)


if __name__ == "__main__":
    sys.exit(main())
