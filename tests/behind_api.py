"""How do tests index with a model behind the test server of OpenAI's API, and what does it say of the vectors?

The server's stand-in for text-embedding-3-small has vectors of 16 numbers, so that whoever asks for it must be told so.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from openai_embeddings import stand_in
from openai_server import OpenAIProcess, OpenAIServer
from support import StandIn

from indexer.models.openai_tokens import WINDOW, OpenAITokenizer
from indexer.providers import LocalSettings, ModelSettings, OpenAISettings, Providers, read_providers

SMALL = "openai:text-embedding-3-small"
DIMENSION = 16
VOCABULARIES = Path(sys.prefix, "share", "tiktoken")
CONFIGURATION = f"""
[openai]
{{openai}}

[models."{SMALL}"]
dimension = {DIMENSION}

[collections.{{name}}]
source = {{source}}
model = "{SMALL}"
"""

Server = OpenAIServer | OpenAIProcess


def variables(server: Server, vocabularies: Path = VOCABULARIES) -> dict[str, str]:
    """What the environment says of the server."""
    return {
        "OPENAI_BASE_URL": server.url,
        "OPENAI_API_KEY": server.key,
        "TIKTOKEN_CACHE_DIR": str(vocabularies),
    }


def providers(server: Server, dimension: int = DIMENSION, **openai: Any) -> Providers:
    """The same, read, for a call in this process."""
    models = {SMALL: ModelSettings(dimension=dimension)}
    return read_providers(LocalSettings(), OpenAISettings(**openai), models, variables(server))


class ServedStandIn(StandIn):
    """The server's stand-in without the server: its vectors, and the tokens and the window of OpenAI's models."""

    window = WINDOW

    def __init__(self) -> None:
        super().__init__()
        self.tokenizer = OpenAITokenizer(SMALL, VOCABULARIES)


def nearest(texts: Mapping[str, str], query: str, limit: int) -> list[tuple[str, float]]:
    """Brute force over the vectors that the server has for whole texts: ids and similarities, best first."""
    rows = stand_in(DIMENSION).vectorise([*texts.values(), query]).astype(np.float64)
    scored = zip(texts, np.round(rows[:-1] @ rows[-1], 6), strict=True)
    return sorted(((id, float(score)) for id, score in scored), key=lambda one: (-one[1], one[0]))[:limit]
