"""Three generations to roll back to, made by two stand-ins for models; for `pytest_plugins`.

A plugin's fixtures are there for every test module of a run, so that each module has a `place` of its own.
"""

from __future__ import annotations

import pytest
from rolled import FIRST, SECOND, SHORT, THIRD
from support import Place
from two_models import Expected, Models, run


@pytest.fixture
def models_(monkeypatch: pytest.MonkeyPatch) -> Models:
    return Models(monkeypatch)


@pytest.fixture
def three(place: Place, models_: Models) -> list[Expected]:
    """Three generations; the second has other passages than the first, the third another model."""
    first = run(place, models_, FIRST)
    second = run(place, models_, SECOND, SHORT)
    models_.configured = models_.other
    return [first, second, run(place, models_, THIRD, SHORT)]
