"""How does a person see how far a run is?

On a terminal a bar; elsewhere a line in the log now and then, for those who asked for such lines.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

from tqdm import tqdm

from indexer.report import duration
from indexer.stages import Progress

SECONDS_BETWEEN_LINES = 30.0

log = logging.getLogger("parecido")


class Bar:
    """A progress bar for a terminal."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._bars: list[tqdm[Any]] = []
        """The last is the stage that is on, the others those that it began within."""

    def begin(self, stage: str, total: int | None, unit: str) -> None:
        """Show a new bar; it goes when the stage ends."""
        text = f"{self._label}: {stage}"
        self._bars.append(tqdm(desc=text, total=total, unit=f" {unit}", leave=False, smoothing=0.05))

    def advance(self, count: int) -> None:
        """Move the bar."""
        if self._bars:
            self._bars[-1].update(count)

    def end(self) -> None:
        """Take the bar away."""
        if self._bars:
            self._bars.pop().close()


class Lines:
    """A line of the log every half minute; a run that is shorter leaves none."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._outer: list[tuple[str, int | None, str, int, float]] = []
        self._total: int | None = None
        self._stage, self._unit, self._done = "", "", 0
        self._began = self._said = time.monotonic()

    def begin(self, stage: str, total: int | None, unit: str) -> None:
        """Count from nothing again."""
        self._outer.append((self._stage, self._total, self._unit, self._done, self._began))
        self._stage, self._total, self._unit = stage, total, unit
        self._done = 0
        self._began = self._said = time.monotonic()

    def advance(self, count: int) -> None:
        """Count on, and say so when it is time."""
        self._done += count
        now = time.monotonic()
        if now - self._said >= SECONDS_BETWEEN_LINES:
            self._said = now
            self._say(self._done / (now - self._began))

    def end(self) -> None:
        """Go on counting the stage that this one began within."""
        if self._outer:
            self._stage, self._total, self._unit, self._done, self._began = self._outer.pop()

    def _say(self, rate: float) -> None:
        of = f" of {self._total:,}" if self._total is not None else ""
        left = (self._total - self._done) / rate if self._total and rate else None
        until = f", {duration(left)} left" if left is not None else ""
        told = {
            "event": "progress",
            "collection": self._label,
            "stage": self._stage,
            "done": self._done,
            "total": self._total,
            "unit": self._unit,
            "per_second": round(rate, 1),
            "seconds_left": None if left is None else round(left),
        }
        text = f"{self._label}: {self._stage} {self._done:,}{of} {self._unit}, {rate:,.1f}/s{until}"
        log.info("%s", text, extra=told)


def progress(label: str, *, bar: bool = True) -> Progress:
    """What suits the standard error: a bar on a terminal, lines elsewhere or where a bar is not wanted."""
    return Bar(label) if bar and sys.stderr.isatty() else Lines(label)
