"""A place whose texts are embedded through the Batch API of the test server, and what several tests ask about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from openai_ledger import Ledger as Asked
from openai_server import KEY, Orders
from pydantic import SecretStr
from support import NAME, Place, Silent, StandIn, settings_for, write_rows

from indexer.batches import recorded
from indexer.batches.batch import Batch
from indexer.build import build
from indexer.config import CollectionSettings
from indexer.ledger import Spent, ledger
from indexer.models import Fingerprint
from indexer.providers import ModelSettings, OpenAISettings, Providers
from indexer.report import Report
from indexer.snapshot import verify
from indexer.storage import collection_folder

MODEL = "openai:text-embedding-3-small"
TO_THE_END = 9
"""Steps after which every batch of the test server is over."""


def rows(count: int, start: int = 0) -> list[dict[str, Any]]:
    """Rows with a text each."""
    return [{"id": f"{i}", "text": f"This is text number {i}."} for i in range(start, start + count)]


def texts(rows: list[dict[str, Any]]) -> dict[str, int]:
    """How often each text is paid that is paid once."""
    return {row["text"]: 1 for row in rows}


def fingerprint_of(url: str, name: str = MODEL, dimension: int = 16) -> Fingerprint:
    """The identity of vectors that the test server makes."""
    return Fingerprint("openai", name, "", dimension, "", "", "api", normalised=True, space=url)


def providers_of(url: str, price: str = "1000") -> Providers:
    """The test server, whose models cost so many dollars for a million tokens."""
    model = ModelSettings.model_validate({"price_per_million": price})
    return Providers(openai=OpenAISettings(base_url=url, api_key=SecretStr(KEY)), models={MODEL: model})


class Posted(Place):
    """A place whose model is the test server's."""

    def __init__(self, folder: Path, server: Orders, stand_in: StandIn) -> None:
        super().__init__(folder)
        self.server, self.stand_in = server, stand_in
        self.providers = providers_of(server.url)  # type: ignore[attr-defined]
        stand_in.fingerprint = fingerprint_of(self.providers.openai.base_url)

    def run(
        self, rows: list[dict[str, Any]] | None = None, rebuild: bool = False, wait: float = 0.0, **settings: Any
    ) -> Report:
        """Write the rows, if any are given, and run the indexer over the file."""
        if rows is not None:
            write_rows(self.source, rows)
        wanted = self.settings(**settings)
        return build(self.store, self.name, wanted, Silent(), rebuild, self.cache, wait, self.providers)

    def settings(self, **settings: Any) -> CollectionSettings:
        """Those of a run."""
        return settings_for(self.source, **{"mode": "batch", "model": MODEL, **settings})

    @property
    def asked(self) -> Asked:
        """What the server was asked."""
        found: Asked = self.server.ledger  # type: ignore[attr-defined]
        return found

    @property
    def batches(self) -> list[Batch]:
        """What is recorded of them, oldest first."""
        return recorded(collection_folder(self.store, NAME))

    @property
    def spent(self) -> Spent:
        """What the store's ledger has."""
        with ledger(self.store) as paid:
            return paid.total()

    def holds(self, rows: list[dict[str, Any]]) -> bool:
        """Whether the current generation is whole and has exactly these rows, each with the vector of its text."""
        snapshot = self.snapshot
        verify(snapshot)
        found = {}
        for part in snapshot.segments:
            for row in range(part.segment.entry.items):
                if part.live is None or part.live[row]:
                    (passage,) = part.segment.passages_of(row)
                    vector = part.segment.vectors[passage]
                    assert vector.tobytes() == self.stand_in.embed_query([part.segment.text(row) or ""])[0].tobytes()
                    found[part.segment.id(row)] = part.segment.text(row)
        return found == {row["id"]: row["text"] for row in rows}
