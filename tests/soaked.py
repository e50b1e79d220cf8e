"""What is soaked, and who keeps count of what its model is asked for? See `soak`."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Protocol

from killed_command import SLICE, name
from oracle import Oracle

from indexer.config import PassageSettings


class Subject(Protocol):
    """What is soaked: the command over some model, and whoever keeps count of what that is asked for."""

    script: str
    """The module beside this one that is the command, and forks it."""
    variables: dict[str, str]
    """Of its environment, beside what is there."""
    before: str
    more: str
    """Lines of the configuration: before the collection, and of it."""
    passages: PassageSettings
    oracle: Oracle
    seen: Path
    """A folder or a file where something changes when the model is asked."""

    def read(self, log: Path, *, killed: bool, published: bool) -> bool:
        """Take note of what a run has asked for; whether it was anything."""

    def late(self, texts: set[str]) -> set[str]:
        """Those of which a vector may come later, when the others are published."""

    def check(self, texts: set[str], kills: int) -> None:
        """Raise AssertionError unless all of these were embedded, and none without need."""

    def summary(self) -> str:
        """What was asked for, for people."""


class StandInSubject:
    """The command over the stand-in, which writes down itself what it is asked."""

    script = "killed_command.py"
    before = more = ""
    passages = PassageSettings()

    def __init__(self, folder: Path) -> None:
        self.variables: dict[str, str] = {}
        self.oracle = Oracle()
        self.seen = folder / "logs"
        self.asked: Counter[str] = Counter()
        """How often the model was asked for each text."""
        self.doubtful: Counter[str] = Counter()
        """How often its run was killed over it, so that nobody knows whether its vector was kept."""

    @property
    def in_vain(self) -> int:
        """How many texts were embedded without need."""
        return self.asked.total() - len(self.asked)

    def read(self, log: Path, *, killed: bool, published: bool) -> bool:
        """Take note of what the model was asked for."""
        lines = log.read_text(encoding="utf-8").split("\n")[:-1] if log.exists() else []
        questions = [json.loads(line) for line in lines]
        for question in questions:
            assert question["cached"] == [], "the model is asked for texts whose vectors are in the cache"
            assert len(question["asked"]) <= SLICE
            self.asked.update(question["asked"])
        if questions and killed and not published:
            self.doubtful.update(questions[-1]["asked"])
        return bool(questions)

    def late(self, texts: set[str]) -> set[str]:
        """None."""
        return set()

    def check(self, texts: set[str], kills: int) -> None:
        """Every text was embedded, and again only where a run was killed over it."""
        assert {name(hashlib.sha256(text.encode()).digest()) for text in texts} <= self.asked.keys()
        again = {text: count for text, count in self.asked.items() if count > 1 + self.doubtful[text]}
        assert not again, f"{len(again)} texts were embedded again although no run was killed over them"
        assert self.in_vain <= SLICE * kills

    def summary(self) -> str:
        """How many texts, and what a kill may cost."""
        return f"{len(self.asked):,} texts embedded, {self.in_vain:,} of them again; a kill may cost {SLICE}"
