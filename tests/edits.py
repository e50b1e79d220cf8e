"""What may happen to the rows of a source, as rules of a state machine."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

ids = st.sampled_from([f"item {i}" for i in range(14)])
texts = st.lists(st.sampled_from(["cat", "rain", "piano", "judge"]), min_size=1, max_size=3).map(
    " ".join
) | st.sampled_from([" ".join(["the river and the mountain."] * times) for times in (3, 30)])
metadata = st.fixed_dictionaries(
    {}, optional={"n": st.integers(0, 5) | st.just(2.5), "tag": st.sampled_from(["x", "y"])}
)
picks = st.lists(st.integers(0, 13), min_size=1, max_size=4)


class Edits(RuleBasedStateMachine):
    """Rows that come, change, go and get other names."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[str, tuple[str, dict[str, Any]]] = {}

    @initialize(new=st.dictionaries(ids, st.tuples(texts, metadata), min_size=4))
    def begin(self, new: dict[str, Any]) -> None:
        self.rows |= new

    @rule(new=st.dictionaries(ids, st.tuples(texts, metadata), min_size=1, max_size=5))
    def add_or_replace(self, new: dict[str, Any]) -> None:
        self.rows |= new

    @rule(which=picks, text=texts)
    def change(self, which: list[int], text: str) -> None:
        for id in self._picked(which):
            self.rows[id] = text, self.rows[id][1]

    @rule(which=picks, fields=metadata)
    def change_metadata_only(self, which: list[int], fields: dict[str, Any]) -> None:
        for id in self._picked(which):
            self.rows[id] = self.rows[id][0], fields

    @rule(which=picks, new=ids)
    def rename(self, which: list[int], new: str) -> None:
        for id in self._picked(which)[:1]:
            self.rows[new] = self.rows.pop(id)

    @rule(which=picks)
    def delete(self, which: list[int]) -> None:
        for id in self._picked(which):
            del self.rows[id]

    def _picked(self, which: list[int]) -> list[str]:
        known = sorted(self.rows)
        return sorted({known[pick % len(known)] for pick in which}) if known else []
