"""What the tests share: the packaged model, loaded once."""

from __future__ import annotations

import pytest

from indexer import models
from indexer.config import DEFAULT_MODEL, CollectionSettings
from indexer.models import Model


@pytest.fixture(scope="session")
def model() -> Model:
    """The packaged model, on the CPU."""
    fingerprint = models.identify(CollectionSettings(source=("-",), model=DEFAULT_MODEL))
    return models.load(fingerprint, "cpu")
