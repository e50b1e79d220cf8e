"""How does an answer look to a person?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from indexer.errors import ParecidoError

if TYPE_CHECKING:
    from indexer.answers import CollectionAnswer, CompareAnswer, PassageAnswer, SearchAnswer
    from indexer.models.cache_contents import Emptied, Statistics
    from indexer.report import Report

PREVIEW = 100


def report(report: Report) -> str:
    """What a run did, in one line, and what needs attention below it."""
    items, passages = report.items, report.passages
    what = "published" if report.published else "still current"
    lines = [
        f"{report.collection}: generation {report.generation} {what} ({report.reason}): {items.added:,} added, "
        f"{items.changed:,} changed, {items.deleted:,} deleted, {items.unchanged:,} unchanged; {passages.embedded:,} "
        f"of {passages.total:,} passages embedded, {passages.cached:,} cached; {report.seconds['total']:.1f} s"
    ]
    if items.held:
        lines.append(
            f"  {items.held:,} items that the source no longer has were kept: rows whose id could not be read may be "
            "they (allow_unread_deletions lets them go)"
        )
    if items.rejected:
        lines.append(f"  {items.rejected:,} rows rejected, see {report.rejects_file}")
    return "\n".join(lines)


def hits(answer: SearchAnswer) -> str:
    """Similarity, id and the beginning of the best passage, one hit a line."""
    if not answer["hits"]:
        return "Nothing found."
    # An id may hold anything, a line break or a terminal's control codes too.
    ids = [hit["id"] if hit["id"].isprintable() else ascii(hit["id"]) for hit in answer["hits"]]
    width = min(40, max(map(len, ids)))
    return "\n".join(
        f"{hit['similarity']:.4f}  {id:<{width}}  {_preview(hit['passage'])}"
        for id, hit in zip(ids, answer["hits"], strict=True)
    )


def comparison(answer: CompareAnswer) -> str:
    """The similarity, then the best-matching passages side by side."""
    lines = [f"{answer['similarity']:.4f}"]
    for pair in answer["passages"]:
        lines += ["", f"{pair['similarity']:.4f}  a  {_preview(pair['a'])}", f"        b  {_preview(pair['b'])}"]
    return "\n".join(lines)


def status(store: Path, collections: Mapping[str, CollectionAnswer | ParecidoError]) -> str:
    """One collection a line."""
    if not collections:
        return f"No collection is published in {store}: index one with `parecido index`."
    return "\n".join(
        f"{name}: {one.message}" if isinstance(one, ParecidoError) else f"{name}: {_described(one)}"
        for name, one in collections.items()
    )


def history(generations: Sequence[CollectionAnswer]) -> str:
    """One generation a line."""
    return "\n".join(_described(generation) for generation in generations)


def cache(found: Statistics, max_bytes: int) -> str:
    """Where the embedding cache is and how full, then one model a line."""
    if not found.vectors:
        return f"There is nothing in the embedding cache {found.path}."
    lines = [
        f"{found.path}: {found.vectors:,} vectors, {_megabytes(found.bytes)} of at most {_megabytes(max_bytes)}, "
        f"the oldest last used on {found.oldest_use}"
    ]
    for one in found.models:
        prompt = f", prompt {one.document_prompt!r}" if one.document_prompt else ""
        lines.append(
            f"  {one.name} ({one.revision[:12]}{prompt}): {one.vectors:,} vectors of {one.dimension} dimensions, "
            f"{_megabytes(one.bytes)}, made by {one.numeric_path}"
        )
    if found.pinned:
        lines.append(f"  {found.pinned:,} are kept for a run of {', '.join(found.unfinished)} that has not published")
    return "\n".join(lines)


def emptied(done: Emptied) -> str:
    """How many vectors went, and why others did not."""
    kept = f"; {done.kept:,} stay for a run that has not published (--all removes them too)" if done.kept else ""
    return f"{done.removed:,} vectors removed{kept}"


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"


def _described(one: CollectionAnswer) -> str:
    return (
        f"generation {one['generation']}, {one['items']:,} items, {one['passages']:,} passages, "
        f"model {one['model']['name']}, {_megabytes(one['bytes'])}, published "
        f"{one['created_at']:%Y-%m-%d %H:%M:%S} UTC"
    )


def _preview(passage: PassageAnswer) -> str:
    if passage["text"] is None:
        return f"[{passage['start']}:{passage['end']}]"
    text = " ".join(passage["text"].split())
    return text if len(text) <= PREVIEW else text[: PREVIEW - 1] + "…"
