"""`parecido` for stores of made-up vectors: no model made them, hence none is loaded, and texts cannot be asked."""

from __future__ import annotations

from typing import Any, NoReturn

from indexer import models
from indexer.models import Fingerprint
from service.cli import main


class NoModel:
    """Stands where a model would."""

    device = numeric_path = "none"

    def __init__(self, fingerprint: Fingerprint, *_: Any) -> None:
        self.fingerprint = fingerprint

    def warm(self) -> None:
        """Nothing to wait for."""

    def embed_query(self, texts: Any) -> NoReturn:
        """Refuse."""
        raise ValueError("This store's vectors are made up: ask by vector.")


if __name__ == "__main__":
    setattr(models, "load", NoModel)  # noqa: B010 - a stand-in, of which the type checker need not approve
    main()
