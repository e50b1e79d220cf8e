"""How is a model behind OpenAI's API asked?"""

from __future__ import annotations

from indexer.config import CollectionSettings
from indexer.errors import ModelUnavailable
from indexer.models import Fingerprint, Model
from indexer.providers import Providers


def identify(settings: CollectionSettings, providers: Providers, published: Fingerprint | None) -> Fingerprint:
    """The fingerprint of a model by its name."""
    raise ModelUnavailable("Not yet.", param="model")


def load(fingerprint: Fingerprint, providers: Providers) -> Model:
    """The model of exactly this fingerprint."""
    raise ModelUnavailable("Not yet.", param="model")
