"""Which passages are worth a closer look?

An index proposes candidates for the exact rescoring that follows in `search`, and is of one of a few kinds:

    exact      FAISS's scan of half-precision codes, which leaves nothing out
    pq         a scan of 4-bit codes (PQ fast scan), whose candidates are compared with the vectors themselves
    hnsw       a graph over half-precision codes
    hnsw-sq8   a graph over 8-bit codes, whose candidates are compared with the vectors themselves

`choose` says which one suits how many vectors, `build` builds and tunes it, `open_index` opens it, `propose` asks it,
`measured_again` says what it finds when some of its items are gone.
What an index that may leave something out was found to find, at which effort, is its `Ladder`. Only `kinds`, `codes`
and `opened` import faiss.

File: FAISS's own format, or of 4-bit codes what `codes` says, read memory-mapped, so that every process on a machine
shares one copy.
"""

from indexer.ann.again import measured_again
from indexer.ann.asking import Proposal, nearness, propose, without
from indexer.ann.building import Aim, build, gathered
from indexer.ann.choice import Choice, Kind, choose
from indexer.ann.ladder import LIMITS, Figure, IndexEntry, effort_for
from indexer.ann.opened import AnnIndex, open_index
from indexer.ann.passages import Logged, Passages, nothing_logged
from indexer.ann.tuning import to_fetch
from indexer.ann.ways import Plan, plan

__all__ = [
    "LIMITS",
    "Aim",
    "AnnIndex",
    "Choice",
    "Figure",
    "IndexEntry",
    "Kind",
    "Logged",
    "Passages",
    "Plan",
    "Proposal",
    "build",
    "choose",
    "effort_for",
    "gathered",
    "measured_again",
    "nearness",
    "nothing_logged",
    "open_index",
    "plan",
    "propose",
    "to_fetch",
    "without",
]
