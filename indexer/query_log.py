"""What do people ask, as far as a log of theirs tells?

Queries lie elsewhere than documents, so that an index may find less of what is nearest to them. A collection may name a
file of them, one a line; JSON Lines with `text` where it is called .jsonl or .ndjson. Of its newest lines a few hundred
texts are taken, the same of the same lines, and mostly the same when some have been added. They are embedded as queries
are, and only where an index is tuned. Their vectors stay in the embedding cache, in a space of their own, for they are
not those of documents. A log never holds up a run: what is wrong with it is a warning, and items are asked with alone.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from indexer import models
from indexer.config import CollectionSettings
from indexer.errors import ConfigurationError, ParecidoError
from indexer.models import QUERIES, Fingerprint
from indexer.models.cache import EmbeddingCache, text_key
from indexer.providers import Providers
from indexer.storage import CollectionFolder
from indexer.vectors import Vectors

TAKEN = 200
LEAST = 50
"""Fewer tell too little."""
NEWEST_LINES, NEWEST_BYTES = 10_000, 16 << 20
"""Of the end of the file, the lines among which they are taken, and what is read for these."""
LONGEST = 10_000
"""Characters of what may be a query."""
JSON_LINES = (".jsonl", ".ndjson")

log = logging.getLogger("parecido")


class QueryLog:
    """The queries of a collection's log, read and embedded when they are first needed."""

    def __init__(
        self,
        settings: CollectionSettings,
        fingerprint: Fingerprint,
        providers: Providers,
        cache: EmbeddingCache,
        folder: CollectionFolder,
    ) -> None:
        self._settings, self._fingerprint, self._providers = settings, fingerprint, providers
        self._cache, self._folder = cache, folder
        self._vectors: Vectors | None = None

    def vectors(self) -> Vectors:
        """Of some of them, (n, dimension); none where there is no log, or it cannot be used, which is a warning."""
        if self._vectors is None:
            self._vectors = self._found()
        return self._vectors

    def _found(self) -> Vectors:
        nothing, path = np.empty((0, self._fingerprint.dimension), dtype=np.float32), self._settings.query_log
        if path is None:
            return nothing
        try:
            if self._fingerprint.provider == "openai":
                raise ConfigurationError(
                    f"query_log is for models of this machine, and {self._fingerprint.name!r} would have to be paid "
                    "for each query: leave it out."
                )
            return self._embedded(sample(path))
        except ParecidoError as error:
            log.warning(
                "collection %s: its indexes are tuned with items alone: %s", self._folder.name, error.message,
                extra={"event": "query_log"},
            )  # fmt: skip
            return nothing

    def _embedded(self, texts: Sequence[str]) -> Vectors:
        """Their vectors, of the embedding cache where it has them."""
        space = query_space(self._fingerprint)
        cache = self._cache.for_run(space, self._folder.path)
        keys = [text_key(space.document_prompt + text) for text in texts]
        vectors = np.empty((len(texts), space.dimension), dtype=np.float32)
        known = cache.fill(keys, range(len(texts)), vectors)
        if missing := [row for row in range(len(texts)) if row not in known]:
            model = models.load(self._fingerprint, self._settings.device, self._providers)
            vectors[missing] = model.embed_query([texts[row] for row in missing])
            cache.put([keys[row] for row in missing], vectors[missing], model.numeric_path)
        return vectors


def query_space(fingerprint: Fingerprint) -> Fingerprint:
    """Under which the embedding cache has vectors of queries, which are never those of documents."""
    return replace(fingerprint, document_prompt=fingerprint.query_prompt, space=QUERIES)


def sample(path: Path) -> list[str]:
    """Some of the newest queries of a log, each once; raises ConfigurationError where there are too few to be read."""
    texts = dict.fromkeys(text for line in _newest(path) if (text := _text(line, path.suffix in JSON_LINES)))
    if len(texts) < LEAST:
        raise ConfigurationError(
            f"query_log {str(path)!r} has {len(texts)} different queries in its newest lines, and {LEAST} are needed: "
            f"one a line in UTF-8, or JSON Lines with `text` in a file called {' or '.join(JSON_LINES)}.",
            param="query_log",
        )
    return sorted(texts, key=lambda text: hashlib.sha256(text.encode()).digest())[:TAKEN]


def _newest(path: Path) -> list[bytes]:
    """The last lines of a file, which may be of any size."""
    try:
        with path.open("rb") as file:
            start = max(0, path.stat().st_size - NEWEST_BYTES)
            file.seek(start)
            lines = file.read(NEWEST_BYTES).splitlines()
    except OSError as error:
        raise ConfigurationError(
            f"query_log {str(path)!r} cannot be read: {error.strerror}.", param="query_log"
        ) from error
    return lines[1 if start else 0 :][-NEWEST_LINES:]


def _text(line: bytes, in_json: bool) -> str | None:
    """The query of a line; None where there is none."""
    try:
        text = json.loads(line)["text"] if in_json else line.decode("utf-8-sig")
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    if not isinstance(text, str) or len(text) > LONGEST:
        return None
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a pair, as JSON may have it
        return None
    return text.strip() or None
