"""A source that grows, edited by a seeded hand: what a person's files may be like from one run to the next."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from support import write_rows

WORDS = ["cat", "engine", "bread", "judge", "rain", "piano", "mountain", "tax", "river", "medicine", "window", "letter"]


class Corpus:
    """The rows of the source, edited by a seeded hand."""

    def __init__(self, hand: random.Random) -> None:
        self._hand = hand
        self._count = 0
        self.rows: dict[str, tuple[str, dict[str, Any]]] = {}

    def edit(self) -> None:
        """Some rows come, fewer change, and a few go or get another name."""
        hand = self._hand
        for _ in range(hand.choice([4, 8, 16, 40])):
            self.rows[self._name()] = self._text(), {"n": hand.randrange(6)}
        for id in self._some(6):
            self.rows[id] = self._text(), self.rows[id][1]
        for id in self._some(6):
            self.rows[id] = self.rows[id][0], {"n": hand.randrange(6)}
        for id in self._some(4):
            self.rows[self._name()] = self.rows.pop(id)
        for id in self._some(8):
            del self.rows[id]

    def write(self, source: Path) -> None:
        """The source, in any order."""
        ids = sorted(self.rows)
        self._hand.shuffle(ids)
        write_rows(source, ({"id": id, "text": self.rows[id][0], **self.rows[id][1]} for id in ids))

    def _name(self) -> str:
        self._count += 1
        return f"row {self._count}"

    def _some(self, most: int) -> list[str]:
        return self._hand.sample(sorted(self.rows), min(len(self.rows), self._hand.randrange(most + 1)))

    def _text(self) -> str:
        """Now and then one that another row has; some fill several passages."""
        if self.rows and self._hand.random() < 0.1:
            return self.rows[self._hand.choice(sorted(self.rows))][0]
        return " ".join(self._hand.choices(WORDS, k=self._hand.choice([3, 5, 9, 20, 150]))) + "."
