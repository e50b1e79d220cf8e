"""What do the tests of rolling back share? A collection of three generations."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import Place

from indexer import intake

A = [{"id": f"i{n}", "text": f"This is text {n}.", "n": n} for n in range(6)]
B = [*A[:3], {**A[3], "text": "This text was changed."}, {"id": "b", "text": "A text that came in B.", "n": 7}]
C = [{"id": f"c{n}", "text": f"Nothing at all is as it was before, not even number {n}.", "n": n} for n in range(4)]


def three_generations(folder: Path) -> Place:
    """Generations 1 to 3 with the rows A, B and C."""
    place = Place(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(intake, "plan_merge", lambda *sizes: [])  # so that there are bitmaps, too
        for rows in (A, B, C):
            place.run(rows)
    return place
