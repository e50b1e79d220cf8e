"""What came of a comparison, for people and for `figures`?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks._exact import Recall
from benchmarks._peer_processes import Filled
from benchmarks._peers import Peer
from benchmarks.figures import Aim, Figure, figure
from benchmarks.load import Outcome, median

OURS = "Parecido"
RATE = "of the peer's rate"
AIMS = {
    ("chroma", "vector", 8, 2): Aim(
        "at least",
        10,
        "where the service and who asks it share two slow cores, not even a bare endpoint of Starlette over the same "
        "index gives ten times Chroma's rate, see http; next is what is said there",
    ),
    ("txtai", "text", 32, 2): Aim(
        "at least",
        4,
        "both compute the same products with the same model on the same cores, of which texts that are computed "
        "together save some; a processor with bf16 would save the most, which txtai makes no use of",
    ),
}
"""Of the ratio of rates: the peer, the kind, connections, and our workers."""
MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Row:
    """The rounds of both, one kind of question, one number of connections."""

    kind: str
    clients: int
    workers: int
    """Of the service; the peer has what it has."""
    ours: Sequence[Outcome]
    theirs: Sequence[Outcome]

    @property
    def ratios(self) -> list[float]:
        """The service's rate to the peer's, round by round; without the rounds in which the peer answered nothing."""
        pairs = zip(self.ours, self.theirs, strict=True)
        return [ours.rate / theirs.rate for ours, theirs in pairs if theirs.answers]

    @property
    def failures(self) -> int:
        """Of both."""
        return sum(outcome.failures for outcome in (*self.ours, *self.theirs))


@dataclass
class Comparison:
    """All that was seen of a peer, and of the service beside it."""

    peer: Peer
    filled: Filled
    rows: list[Row] = field(default_factory=list)
    our_recall: Mapping[str, Recall] = field(default_factory=dict)
    """By kind."""
    recall: Mapping[str, Recall] = field(default_factory=dict)
    our_memory: dict[int, int] = field(default_factory=dict)
    """By the number of workers."""
    memory: int = 0


def good(seen: Comparison) -> bool:
    """Whether all was answered and every aim is met."""
    missed = [one for one in measured(seen) if one.aim and not one.aim.met(one.median)]
    return not missed and not any(row.failures for row in seen.rows)


def table(seen: Comparison) -> Iterator[str]:
    """The lines that a person reads."""
    yield f"{seen.filled.about}: filled in {seen.filled.seconds:.1f} s, {seen.memory / MEGABYTE:.0f} MB"
    for workers, taken in seen.our_memory.items():
        yield f"{OURS} with {_workers(workers)}: {taken / MEGABYTE:.0f} MB"
    heads = ("a second", "least", "most", "p50 ms", "p99 ms", "recall", "short", "ratio")
    yield f"{'':<22}{'kind':<18}{'conn':>5}" + "".join(f"{head:>9}" for head in heads)
    for row in seen.rows:
        ratio = f"{figure('', '', '', row.ratios).median:9.2f}" if row.ratios else ""
        ours = f"{OURS}, {_workers(row.workers)}"
        yield _line(ours, row, row.ours, seen.our_recall) + ratio
        yield _line(seen.peer.title, row, row.theirs, seen.recall)


def _line(name: str, row: Row, rounds: Sequence[Outcome], recalls: Mapping[str, Recall]) -> str:
    m, recall = median(rounds), recalls[row.kind]
    speed = f"{m.rate:>9.0f}{m.lowest:>9.0f}{m.highest:>9.0f}{m.p50:>9.2f}{m.p99:>9.2f}"
    return f"{name:<22}{row.kind:<18}{row.clients:>5}{speed}{recall.share:>9.4f}{recall.short:>9}"


def measured(seen: Comparison) -> list[Figure]:
    """All that was measured: both sides of each row, then what each side takes."""
    made = [one for row in seen.rows for one in _of_row(row, seen)]
    takes, title = f"{seen.filled.about}: what it takes", seen.peer.title
    made += [
        figure(takes, f"{OURS}, {_workers(workers)}", "memory", [taken / MEGABYTE], "MB")
        for workers, taken in seen.our_memory.items()
    ]
    made.append(figure(takes, title, "memory", [seen.memory / MEGABYTE], "MB"))
    made.append(figure(takes, title, "filling", [seen.filled.seconds], "s"))
    return made


def _of_row(row: Row, seen: Comparison) -> Iterator[Figure]:
    group = f"{seen.filled.about}: beside the service"
    asked = _asked(row.kind, row.clients)
    ours, theirs = f"{asked}: {OURS}, {_workers(row.workers)}", f"{asked}: {seen.peer.title}, beside {row.workers}"
    for what, rounds, recall in (
        (ours, row.ours, seen.our_recall[row.kind]),
        (theirs, row.theirs, seen.recall[row.kind]),
    ):
        yield figure(group, what, "answers", [outcome.rate for outcome in rounds], "/s")
        yield figure(group, what, "p50", [outcome.p50 for outcome in rounds], "ms")
        yield figure(group, what, "p99", [outcome.p99 for outcome in rounds], "ms")
        yield figure(group, what, "recall", [recall.share])
        yield figure(group, what, "short answers", [recall.short / recall.answers])
    if row.ratios:
        aim = AIMS.get((seen.peer.name, row.kind, row.clients, row.workers))
        yield figure(group, ours, RATE, row.ratios, aim=aim)


def by_figure() -> dict[str, Aim]:
    """The aims by the figures that have them: each is of one peer, and named by what is asked."""
    return {
        f"{_asked(kind, clients)}: {OURS}, {_workers(workers)}: {RATE}": aim
        for (_, kind, clients, workers), aim in AIMS.items()
    }


def _asked(kind: str, clients: int) -> str:
    return f"{kind}, {clients} connection{'s' * (clients > 1)}"


def _workers(count: int) -> str:
    return f"{count} worker{'s' * (count > 1)}"
