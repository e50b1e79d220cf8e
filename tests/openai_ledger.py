"""What was the test server of OpenAI's API asked, and what of it is to be paid?

An entry is on its way to the disk before the answer it tells of is, so the ledger knows what a killed client was
answered. A text is paid when its vector was computed and is billed, even if the client never saw the answer.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

EMBEDDINGS = "POST /v1/embeddings"


@dataclass(frozen=True, slots=True)
class Entry:
    """One request; or what one step of a batch computed."""

    at: float
    """Seconds since 1970 when it came."""
    route: str
    """Method and path, with `{id}` for an id; `BATCH` for a step of a batch."""
    status: int
    """The status that was computed, whatever became of the answer; 0 where none was."""
    mode: str = "request"
    """`request`, or `batch` for a step of one."""
    model: str | None = None
    """The model that was asked for."""
    texts: tuple[str, ...] = ()
    """The texts that were asked for; of a batch those that were answered for."""
    tokens: int = 0
    """The tokens that are billed."""
    paid: bool = False
    """Whether vectors were computed and billed."""
    spoiled: bool = False
    """Whether mischief made the paid answer useless, or kept it from the client."""
    act: str | None = None
    """The mischief that was done."""
    rate: bool = False
    """Whether it was refused because it came too fast, by the measure and not by mischief."""
    in_flight: int = 1
    """How many requests for embeddings were under way, this one included."""


class Ledger:
    """Every entry since the file was begun; safe to use from several threads."""

    def __init__(self, path: Path | None = None, spoiled_apart: bool = False) -> None:
        self.path, self.spoiled_apart = path, spoiled_apart
        self._entries = list(_read(path)) if path is not None and path.exists() else []
        self._file = None
        self._lock = threading.Lock()

    @classmethod
    def read(cls, path: Path, spoiled_apart: bool = False) -> Ledger:
        """The ledger that a server, of this process or another, has written so far."""
        return cls(path, spoiled_apart)

    def write(self, entry: Entry) -> None:
        """Add an entry, and hand it to the operating system."""
        with self._lock:
            self._entries.append(entry)
            if self.path is None:
                return
            self._file = self._file or self.path.open("a", encoding="utf-8")
            self._file.write(json.dumps(asdict(entry)) + "\n")
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    @property
    def entries(self) -> list[Entry]:
        """All of them, in the order in which they were answered."""
        with self._lock:
            return list(self._entries)

    @property
    def requests(self) -> list[Entry]:
        """The requests for embeddings, answered or not."""
        return [entry for entry in self.entries if entry.route == EMBEDDINGS]

    @property
    def paid(self) -> Counter[str]:
        """How often each text was paid; without the spoiled answers where those are kept apart."""
        return Counter(text for entry in self._paid() for text in entry.texts)

    @property
    def spoiled(self) -> Counter[str]:
        """How often each text was paid in an answer that mischief spoiled."""
        return Counter(text for entry in self.entries if entry.paid and entry.spoiled for text in entry.texts)

    @property
    def tokens_paid(self) -> int:
        """The tokens of what `paid` counts."""
        return sum(entry.tokens for entry in self._paid())

    def tokens_paid_in(self, mode: str) -> int:
        """The same of one mode, `request` or `batch`."""
        return sum(entry.tokens for entry in self._paid() if entry.mode == mode)

    @property
    def refused_for_rate(self) -> int:
        """How many requests came too fast."""
        return sum(entry.rate for entry in self.entries)

    @property
    def most_in_flight(self) -> int:
        """The most requests for embeddings that were under way at once."""
        return max((entry.in_flight for entry in self.requests), default=0)

    @property
    def acts(self) -> Counter[str]:
        """How often each kind of mischief was done."""
        return Counter(entry.act for entry in self.entries if entry.act is not None)

    def asked(self, route: str) -> int:
        """How many requests a route had."""
        return sum(entry.route == route for entry in self.entries)

    def _paid(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.paid and not (self.spoiled_apart and entry.spoiled)]


def _read(path: Path) -> Iterable[Entry]:
    """The entries of the file; a last line without its end is still being written."""
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n"):
            values = json.loads(line)
            yield Entry(**{**values, "texts": tuple(values["texts"])})
