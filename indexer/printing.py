"""How does an answer look to a person?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from indexer.answers import (
        CollectionAnswer,
        CompareAnswer,
        GenerationAnswer,
        PassageAnswer,
        RecallAnswer,
        SearchAnswer,
        StatusAnswer,
    )
    from indexer.estimate import Estimate
    from indexer.models.cache_check import CacheVerification
    from indexer.prune import Pruned
    from indexer.repair import Repair
    from indexer.report import Report
    from indexer.verify import Damage, Verification

PREVIEW = 100


def report(report: Report) -> str:
    """What a run did, in one line, and what needs attention below it."""
    items, passages = report.items, report.passages
    what = "published" if report.published else "still current"
    which = f"generation {report.generation} {what}" if report.generation else "nothing is published yet"
    lines = [
        f"{report.collection}: {which} ({report.reason}): {items.added:,} added, "
        f"{items.changed:,} changed, {items.deleted:,} deleted, {items.unchanged:,} unchanged; {passages.embedded:,} "
        f"of {passages.total:,} passages embedded, {passages.cached:,} cached; {report.seconds['total']:.1f} s"
    ]
    if (paid := report.paid).requests:
        lines.append(f"  {_paid(paid.tokens, paid.requests, paid.dollars, paid.estimated)}")
    lines += [f"  measured again {one.segment}: {one.reason}" for one in report.segments.measured_again]
    if items.later:
        lines.append(f"  {_counted(items.later, 'item')} new or changed will be published when their texts are back")
    if items.held:
        lines.append(
            f"  {items.held:,} items that the source no longer has were kept: rows whose id could not be read may be "
            "they (allow_unread_deletions lets them go)"
        )
    if items.rejected:
        lines.append(f"  {items.rejected:,} rows rejected, see {report.rejects_file}")
    return "\n".join(lines)


def _paid(tokens: int, requests: int, amount: float | None, estimated: bool) -> str:
    price = "an unknown price" if amount is None else money(amount)
    about = ", estimated" if estimated else ""
    return f"{tokens:,} tokens paid{about}, {_counted(requests, 'request')}, {price}"


def estimate(found: Estimate) -> str:
    """What a run would do, and below it what it would fold."""
    items = found.items
    what = f"would publish ({found.reason})" if found.publishes else f"would publish nothing: {found.reason}"
    lines = [
        f"{found.collection}: {what}; {items.added:,} added, {items.changed:,} changed, {items.deleted:,} deleted, "
        f"{items.unchanged:,} unchanged, {items.rejected:,} rejected; {found.to_embed:,} of {found.passages:,} "
        f"passages to embed, {found.cached:,} cached; {_foreseen(found)}; about {found.seconds:,.1f} s, "
        f"{'told from' if found.to_embed else 'as'} {found.basis}"
    ]
    return "\n".join(lines + [f"  would merge {one.segment}: {one.reason}" for one in found.merged])


def _foreseen(found: Estimate) -> str:
    """The tokens of a run, prompts among them where an API is paid for these, and their price."""
    from indexer.providers import OPENAI

    what = "tokens to pay for" if found.model.startswith(OPENAI) else "tokens"
    return f"{found.tokens:,} {what}{' (estimated)' if found.tokens_estimated else ''}{_priced(found)}"


def _priced(found: Estimate) -> str:
    """What a run would pay; nothing where it is free."""
    if found.cost.dollars is None or found.cost.batch_dollars is None:
        return f', at a price that is not known (set it in [models."{found.model}"])'
    if not found.cost.dollars:
        return ""
    batch, day = money(found.cost.batch_dollars), found.cost.prices_as_of
    return f", {money(found.cost.dollars)} or in batch mode {batch}" + (f" by the prices of {day}" if day else "")


def money(amount: float) -> str:
    """An amount of dollars."""
    from indexer.prices import NANO, dollars

    return dollars(round(amount * NANO))


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


def status(store: Path, collections: Sequence[StatusAnswer]) -> str:
    """One collection a line, and below it what needs attention."""
    if not collections:
        return f"No collection is published in {store}: index one with `parecido index`."
    return "\n".join(line for one in collections for line in _status_lines(one))


def _status_lines(one: StatusAnswer) -> Iterator[str]:
    from indexer.generation import way_out
    from indexer.report import duration

    current, run = one["current"], one["last_run"]
    age = f", {duration(current['age_seconds'])} ago" if current else ""
    yield f"{one['name']}: {_described(current) if current else 'nothing that can be served'}{age}"
    if current:
        yield from _indexes(current["recall"])
    if current and (again := [i["measured_in"] for i in current["recall"]["indexes"] if i["measured_in"]]):
        which = _counted(len(again), "index", "indexes")
        yield f"  {which} measured again as items went, last for generation {max(again)}"
    for number, problem in one["problems"].items():
        yield f"  generation {number} is damaged: {problem}"
    if any(number.isdigit() for number in one["problems"]):
        yield f"  {way_out(one['name'])}"
    if one["held_at"]:
        yield f"  on hold after a rollback to generation {one['held_at']}: `parecido resume {one['name']}` goes on"
    if run and run["error"]:
        what = "published, and then failed" if run["report"] and run["report"]["published"] else "published nothing"
        yield f"  last run {_when(run['started_at'])} {what}: {run['error']['message']}"
    elif run and run["report"]:
        yield f"  last run {_when(run['started_at'])}: {_outcome(run['report'])}"
    if pending := one["pending"]:
        yield (
            f"  {_counted(pending['texts'], 'text')} with the Batch API, {pending['done']:,} done, in "
            f"{_counted(pending['batches'], 'batch', 'batches')}"
        )
    if one["next_run_at"]:
        yield f"  next run {_when(one['next_run_at'])}"


def _outcome(report: Mapping[str, Any]) -> str:
    """What a run came to, as its report in JSON tells it."""
    items, passages = report["items"], report["passages"]
    rejected = f", {items['rejected']:,} rejected" if items["rejected"] else ""
    return (
        f"{report['reason']}, {items['added']:,} added, {items['changed']:,} changed, {items['deleted']:,} deleted"
        f"{rejected}; {passages['embedded']:,} passages of {passages['tokens']:,} tokens embedded"
        f"{_paid_for(report)}, {report['seconds']['total']:.1f} s"
    )


def _paid_for(report: Mapping[str, Any]) -> str:
    """What a run paid, as its report in JSON tells it; nothing where it paid nothing, or is of a time without."""
    paid = report.get("paid")
    if not paid or not paid["requests"]:
        return ""
    told = _paid(paid["tokens"], paid["requests"], paid["dollars"], paid["estimated"])
    return f" by {report['model']}, {told}"


def history(generations: Sequence[GenerationAnswer]) -> str:
    """One generation a line."""
    return "\n".join(_described(one) + _made_by(one) for one in generations)


def _made_by(one: GenerationAnswer) -> str:
    if one["run"]:
        return f" ({one['run']['reason']})"
    return f" (the content of generation {one['origin']}{', on hold' if one['hold'] else ''})" if one["origin"] else ""


def pruned(collection: str, done: Pruned, dry_run: bool) -> str:
    """Which generations went, or would go, and why."""
    gone = [verdict for verdict in done.generations if not verdict.keep]
    kept = len(done.generations) - len(gone)
    if not gone:
        return f"{collection}: " + (f"all {kept:,} generations are kept" if kept > 1 else "its one generation is kept")
    what = "would be removed" if dry_run else "removed"
    size = "" if dry_run else f", {_counted(done.segments, 'segment')}, {megabytes(done.bytes)}"
    lines = [f"{collection}: {_counted(len(gone), 'generation')} {what}{size}, {kept:,} kept"]
    return "\n".join(lines + [f"  generation {verdict.number}: {verdict.reason}" for verdict in gone])


def verifications(collections: Sequence[Verification], cache: CacheVerification | None) -> str:
    """What was read of each collection and of the cache, and each file that is not what it should be."""
    return "\n".join([*map(_verified, collections), *([_verified_cache(cache)] if cache else [])])


def _verified(found: Verification) -> str:
    from indexer.generation import way_out

    generations = _counted(len(found.generations), "generation")
    read = f"{generations}, {_counted(found.files, 'file')}, {megabytes(found.bytes)}"
    if not found.damages:
        return f"{found.collection}: {read}, all as published"
    lines = [f"{found.collection}: {read}, {len(found.damages)} damaged", *map(_damage, found.damages)]
    return "\n".join([*lines, f"  {way_out(found.collection)}"])


def _verified_cache(found: CacheVerification) -> str:
    read = f"embedding cache: {found.vectors:,} vectors, {megabytes(found.bytes)}"
    if not found.damages:
        return f"{read}, all as stored"
    lines = [f"{read}, damaged", *(f"  {found.path}: {reason}" for reason in found.damages)]
    return "\n".join([*lines, "  `parecido cache --empty --all` empties it; what it held is then embedded again"])


def repaired(done: Repair) -> str:
    """What was mended, and what could not be."""
    lines = [f"{done.collection}: {_counted(len(done.mended), 'file')} mended, {len(done.damages)} still damaged"]
    lines += [f"  mended {path}" for path in done.mended]
    if done.published:
        lines.append(f"  published as generation {done.published}")
    if done.damages:
        lines += [*map(_damage, done.damages), f"  `parecido index {done.collection} --rebuild` builds it anew"]
    return "\n".join(lines)


def _damage(damage: Damage) -> str:
    numbers = ", ".join(map(str, damage.generations))
    return f"  {damage.path} (generation{'s' if len(damage.generations) > 1 else ''} {numbers}): {damage.reason}"


def _when(time: datetime | str) -> str:
    """A time, as a program or JSON has it, for people."""
    moment = datetime.fromisoformat(time) if isinstance(time, str) else time
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _counted(count: int, what: str, many: str = "") -> str:
    return f"{count:,} {what if count == 1 else many or f'{what}s'}"


def megabytes(count: int) -> str:
    """Bytes on disk, for people."""
    return f"{count / 1e6:,.1f} MB"


def _described(one: CollectionAnswer) -> str:
    return (
        f"generation {one['generation']}, {one['items']:,} items, {one['passages']:,} passages, "
        f"model {one['model']['name']}, {_recall(one['recall'])}, {megabytes(one['bytes'])}, "
        f"published {_when(one['created_at'])}"
    )


def _recall(one: RecallAnswer) -> str:
    """What a search finds, as it was measured for the first limit."""
    if one["exact"] or not one["measured"]:
        return "recall 1 (exact)"
    first = one["measured"][0]
    return f"recall {_between(first['recall'], first['low'], first['high'])} at {first['limit']}"


def _indexes(one: RecallAnswer) -> Iterator[str]:
    """What searches find at each limit; why there are indexes that may leave something out, and their efforts."""
    if one["exact"]:
        return
    for measured in one["measured"]:
        filtered = _between(measured["filtered"], measured["filtered_low"], measured["filtered_high"])
        plain = _between(measured["recall"], measured["low"], measured["high"])
        yield f"  recall at {measured['limit']}: {plain}, with a filter {filtered}"
    for index in one["indexes"]:
        if index["kind"] != "exact":
            efforts = [_efforts(index[of]) for of in ("efforts", "filtered_efforts")]
            yield f"  {index['kind']} index: {index['reason']}; effort {efforts[0]}, with a filter {efforts[1]}"


def _efforts(by_limit: Mapping[str, int | None]) -> str:
    told = (f"{'exact' if effort is None else f'{effort:,}'} at {limit}" for limit, effort in by_limit.items())
    return " and ".join(told)


def _between(recall: float, low: float, high: float) -> str:
    return f"{recall:.3f} ({low:.3f} to {high:.3f})"


def _preview(passage: PassageAnswer) -> str:
    if passage["text"] is None:
        return f"[{passage['start']}:{passage['end']}]"
    text = " ".join(passage["text"].split())
    return text if len(text) <= PREVIEW else text[: PREVIEW - 1] + "…"
