"""How does a person see how far a run is?

On a terminal a bar, elsewhere a plain line now and then, always on the standard error.
"""

from __future__ import annotations

import sys
import time
from typing import Any, TextIO

from tqdm import tqdm

from indexer.report import Progress

SECONDS_BETWEEN_LINES = 30.0


class Bar:
    """A progress bar for a terminal."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._bar: tqdm[Any] | None = None

    def begin(self, stage: str, total: int | None, unit: str) -> None:
        """Show a new bar; it goes when the stage ends."""
        text = f"{self._label}: {stage}"
        self._bar = tqdm(desc=text, total=total, unit=f" {unit}", leave=False, smoothing=0.05)

    def advance(self, count: int) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.update(count)

    def end(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class Lines:
    """A line every half minute, for logs; a run that is shorter leaves none."""

    def __init__(self, label: str, out: TextIO) -> None:
        self._label = label
        self._out = out
        self.begin("", None, "")

    def begin(self, stage: str, total: int | None, unit: str) -> None:
        """Count from nothing again."""
        self._stage, self._total, self._unit = stage, total, unit
        self._done = 0
        self._began = self._said = time.monotonic()

    def advance(self, count: int) -> None:
        """Count on, and say so when it is time."""
        self._done += count
        now = time.monotonic()
        if now - self._said >= SECONDS_BETWEEN_LINES:
            self._said = now
            rate = self._done / (now - self._began)
            of = f" of {self._total:,}" if self._total is not None else ""
            left = f", {_duration((self._total - self._done) / rate)} left" if self._total and rate else ""
            self._out.write(f"{self._label}: {self._stage} {self._done:,}{of} {self._unit}, {rate:,.1f}/s{left}\n")
            self._out.flush()

    def end(self) -> None:
        """Nothing to take away."""


def progress(label: str) -> Progress:
    """What suits the standard error: a bar on a terminal, lines elsewhere."""
    return Bar(label) if sys.stderr.isatty() else Lines(label, sys.stderr)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
