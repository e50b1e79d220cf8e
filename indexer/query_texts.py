"""What does the text of a query embed to?

It is split as a document is where it does not fit the model's window, and has a vector for each piece.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from indexer.chunking import query_chunker
from indexer.models import Model
from indexer.vectors import Vectors


def query_passages(model: Model, text: str) -> list[str]:
    """The pieces of a query text that the model reads; one, where the text fits its window."""
    return [text[span.start : span.end] for span in query_chunker(model).split(text)]


def embed_queries(model: Model, texts: Sequence[str]) -> list[Vectors]:
    """The vectors of each text's passages."""
    return embed_passages(model, [query_passages(model, text) for text in texts])


def embed_passages(model: Model, groups: Sequence[Sequence[str]]) -> list[Vectors]:
    """The vectors of each group of passages, all embedded together."""
    rows = model.embed_query([passage for group in groups for passage in group])
    return np.split(rows, np.cumsum([len(group) for group in groups])[:-1])
