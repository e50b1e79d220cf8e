"""How long have searches of a collection taken lately?"""

from __future__ import annotations

_WEIGHT = 0.1


class Pace:
    """A running mean that recent searches weigh most in; endless before the first."""

    __slots__ = ("seconds",)

    def __init__(self) -> None:
        self.seconds = float("inf")

    def note(self, seconds: float) -> None:
        """Take one more into account."""
        known = self.seconds
        self.seconds = seconds if known == float("inf") else known + _WEIGHT * (seconds - known)
