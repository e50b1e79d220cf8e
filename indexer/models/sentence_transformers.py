"""How does a sentence-transformers model embed?

The only module that imports sentence_transformers, which takes seconds, and only when a model is loaded. Vectors are
those of the library's own `encode_document` and `encode_query` with the fingerprint's prompts, normalised.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from indexer.errors import ModelUnavailable
from indexer.models import Allows, Embedded, Fingerprint, whatever_it_costs
from indexer.models.converted import Unconvertible
from indexer.models.files import ModelFiles, describe
from indexer.models.slices import embed_in_slices
from indexer.models.tokenizer import LocalTokenizer
from indexer.vectors import Vectors, normalise

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

PROVIDER = "sentence-transformers"

_CPU_BATCH = 16
_GPU_BATCH = 256
_WINDOW_UNKNOWN = 512
_CHAIN = {"Transformer", "Pooling", "Dense", "Normalize"}
"""Modules that make the same of ids and mask alone, whoever calls them."""
_FEATURES = {"input_ids", "attention_mask", "token_type_ids"}


@dataclass(frozen=True, slots=True)
class Traceable:
    """A model as one torch module."""

    module: Any
    """Makes (texts, dimension) float32 of what `example` names."""
    example: dict[str, Any]
    """`input_ids` and `attention_mask` of two texts, (2, tokens) int64."""


class SentenceTransformersModel:
    """A loaded model; calls from several threads take turns."""

    def __init__(self, model: SentenceTransformer, fingerprint: Fingerprint) -> None:
        self.fingerprint = fingerprint
        self.device = str(model.device)
        self.numeric_path = f"torch {str(model.dtype).removeprefix('torch.')} {model.device.type}"
        self.tokenizer = _tokenizer(model, fingerprint.name)
        self.window = _window(model)
        self.pad: int = getattr(model.tokenizer, "pad_token_id", None) or 0
        self._model = model
        self._turn = threading.Lock()
        self._batch = _CPU_BATCH if self.device == "cpu" else _GPU_BATCH

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """One row of length 1 for each text, (n, dimension) float32."""
        return self._embed(self._model.encode_document, texts, self.fingerprint.document_prompt)

    def embed_stream(self, texts: Sequence[str], allows: Allows = whatever_it_costs) -> Iterator[Embedded]:
        """The same for many texts, slice by slice; it costs nothing, so that nobody is asked."""
        return embed_in_slices(self.embed_documents, texts)

    def embed_query(self, texts: Sequence[str]) -> Vectors:
        """The same for queries, with the query prompt."""
        return self._embed(self._model.encode_query, texts, self.fingerprint.query_prompt)

    def warm(self) -> None:
        """Have it compute once."""
        self.embed_query(["warm"])

    def traceable(self) -> Traceable:
        """The whole model as one module; raises Unconvertible where there is more to it."""
        modules = list(self._model)
        kinds = [type(module).__name__ for module in modules]
        if kinds[:2] != ["Transformer", "Pooling"] or set(kinds) - _CHAIN:
            raise Unconvertible(f"it is not only transformer, pooling, dense and normalize but {', '.join(kinds)}")
        if not modules[1].include_prompt:
            raise Unconvertible("its pooling leaves the prompt out")
        features = {k: v for k, v in self._model.preprocess(["one", "one two three"]).items() if hasattr(v, "shape")}
        if others := features.keys() - _FEATURES:
            raise Unconvertible(f"it reads {', '.join(sorted(others))}")
        example = {name: features[name] for name in ("input_ids", "attention_mask")}
        return Traceable(_whole(modules, "token_type_ids" in features), example)

    def _embed(self, encode: Any, texts: Sequence[str], prompt: str) -> Vectors:
        if not texts:
            return np.empty((0, self.fingerprint.dimension), dtype=np.float32)
        try:
            with self._turn:
                rows = encode(list(texts), prompt=prompt, batch_size=self._batch, show_progress_bar=False)
            return normalise(rows)
        except (RuntimeError, ValueError) as error:
            raise ModelUnavailable(f"Model {self.fingerprint.name!r} failed to embed: {error}.") from error


def identify(name: str, query_prompt: str | None, document_prompt: str | None) -> Fingerprint:
    """The fingerprint of a model by its name or folder; explicit prompts replace the model's own."""
    files = describe(name)
    return Fingerprint(
        provider=PROVIDER,
        name=name,
        revision=files.revision,
        dimension=files.dimension or _dimension(_open(name, files, None)),
        query_prompt=files.query_prompt if query_prompt is None else query_prompt,
        document_prompt=files.document_prompt if document_prompt is None else document_prompt,
        pooling=files.pooling,
        normalised=True,
    )


def load(fingerprint: Fingerprint, files: ModelFiles, device: str | None) -> SentenceTransformersModel:
    """The model of this fingerprint from its files; raises ModelUnavailable where they do not load."""
    model = _open(fingerprint.name, files, device)
    if (dimension := _dimension(model)) != fingerprint.dimension:
        raise ModelUnavailable(
            f"Model {fingerprint.name!r} makes vectors of {dimension} dimensions, but its files say "
            f"{fingerprint.dimension}: save the model again.",
            param="model",
        )
    return SentenceTransformersModel(model, fingerprint)


def _whole(modules: list[Any], with_types: bool) -> Any:
    import torch

    class Whole(torch.nn.Module):
        """The modules, one after the other."""

        def __init__(self) -> None:
            super().__init__()
            self.chain = torch.nn.ModuleList(modules)

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            """Ids and mask in, vectors out."""
            features = {"input_ids": input_ids, "attention_mask": attention_mask}
            if with_types:
                features["token_type_ids"] = torch.zeros_like(input_ids)
            for module in self.chain:
                features = module(features)
            return features["sentence_embedding"]

    return Whole().eval()


def _open(name: str, files: ModelFiles, device: str | None) -> SentenceTransformer:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # else it warns at every fork of a server
    try:
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        logging.disable_default_handler()  # what it says goes the way of all logs
        logging.enable_propagation()
        return SentenceTransformer(str(files.folder), device=device, local_files_only=True)
    except (ImportError, KeyError, OSError, RuntimeError, ValueError) as error:
        raise ModelUnavailable(f"Model {name!r} does not load: {error}.", param="model") from error


def _dimension(model: SentenceTransformer) -> int:
    dimension = model.get_embedding_dimension()
    if dimension is None:
        raise ModelUnavailable("The model does not say how long its vectors are.", param="model")
    return int(dimension)


def _tokenizer(model: SentenceTransformer, name: str) -> LocalTokenizer:
    backend = getattr(model.tokenizer, "backend_tokenizer", model.tokenizer)
    if not hasattr(backend, "no_truncation"):
        raise ModelUnavailable(
            f"Model {name!r} has no fast tokenizer (tokenizer.json), which splitting texts needs: save it with one.",
            param="model",
        )
    return LocalTokenizer(backend)


def _window(model: SentenceTransformer) -> int:
    """What the library itself truncates at; some models state an absurd length for "no limit"."""
    stated = model.max_seq_length
    return int(stated) if stated and stated < 1_000_000 else _WINDOW_UNKNOWN
