"""What does the test server answer to a request for embeddings, before any mischief?

The limits and the words of the refusals are OpenAI's. Whether it is asked over a request of its own or in a line of a
batch makes no difference.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Vectorise = Callable[[Sequence[str]], np.ndarray]
"""Texts to rows of length 1, float32."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What OpenAI allows."""

    inputs: int = 2048
    tokens: int = 300_000
    """Of all inputs of a request."""
    input_tokens: int = 8192
    file_bytes: int = 200_000_000
    batch_requests: int = 50_000
    batch_inputs: int = 50_000
    enqueued_tokens: int = 1_000_000_000
    """Of all batches of a model that are under way."""


@dataclass(frozen=True, slots=True)
class EmbeddingModel:
    """A model that the server knows."""

    dimension: int
    vectorise: Vectorise
    shortens: bool = True
    """Whether it allows `dimensions`."""


class Refused(Exception):
    """An answer that is OpenAI's error object."""

    def __init__(
        self,
        status: int,
        message: str,
        type: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers: Mapping[str, str] = {}
        self.error = {"message": message, "type": type, "param": param, "code": code}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that will be answered, if it does not come too fast."""

    model: str
    texts: tuple[str, ...]
    tokens: tuple[int, ...]
    base64: bool
    dimensions: int | None


@dataclass(frozen=True, slots=True)
class Rules:
    """Which models there are, and which texts they take."""

    models: Mapping[str, EmbeddingModel]
    limits: Limits
    poison: Callable[[str], bool]
    poison_message: str
    poison_status: int = 400


def stand_in(dimension: int = 16, shortens: bool = True) -> EmbeddingModel:
    """A model whose vectors depend on the exact text and mean nothing; of dimension 16 they are `support.StandIn`'s."""

    def vectorise(texts: Sequence[str]) -> np.ndarray:
        seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") for text in texts]
        return _normalised(np.array([np.random.default_rng(seed).standard_normal(dimension) for seed in seeds]))

    return EmbeddingModel(dimension, vectorise, shortens)


def packaged(shortens: bool = True) -> EmbeddingModel:
    """The packaged model, loaded when it is first asked."""
    return EmbeddingModel(384, lambda texts: _packaged().embed_documents(texts), shortens)


@functools.cache
def _packaged() -> Any:
    from indexer import models
    from indexer.config import DEFAULT_MODEL, CollectionSettings

    return models.load(models.identify(CollectionSettings(source=("-",), model=DEFAULT_MODEL)), "cpu")


@functools.cache
def vocabulary() -> Any:
    """The tokens of cl100k_base; not of the registry, in which tests may want to find it missing."""
    import tiktoken
    from tiktoken_ext import openai_public

    kept = os.environ.get("TIKTOKEN_CACHE_DIR")
    os.environ["TIKTOKEN_CACHE_DIR"] = str(Path(sys.prefix, "share", "tiktoken"))
    try:
        return tiktoken.Encoding(**openai_public.cl100k_base())
    finally:
        del os.environ["TIKTOKEN_CACHE_DIR"]
        if kept is not None:
            os.environ["TIKTOKEN_CACHE_DIR"] = kept


def count_tokens(text: str) -> int:
    """The tokens that are billed for a text."""
    return len(vocabulary().encode_ordinary(text))


def parse(body: Any, rules: Rules) -> Asked:
    """The request, by OpenAI's rules; raises Refused."""
    if not isinstance(body, dict):
        raise Refused(400, "We could not parse the JSON body of your request. (HINT: it must be a JSON object.)")
    model = _model(body, rules)
    texts = _texts(body.get("input"), rules.limits)
    tokens = _tokens(texts, rules.limits)
    if any(rules.poison(text) for text in texts):
        raise Refused(rules.poison_status, rules.poison_message)
    encoding = body.get("encoding_format", "float")
    if encoding not in ("float", "base64"):
        raise Refused(
            400, f"Invalid value: {encoding!r}. Supported values are: 'float' and 'base64'.", param="encoding_format"
        )
    return Asked(body["model"], tuple(texts), tokens, encoding == "base64", _dimensions(body, model))


def _model(body: Mapping[str, Any], rules: Rules) -> EmbeddingModel:
    name = body.get("model")
    if not isinstance(name, str) or not name:
        raise Refused(400, "you must provide a model parameter")
    if name not in rules.models:
        message = f"The model `{name}` does not exist or you do not have access to it."
        raise Refused(404, message, code="model_not_found")
    return rules.models[name]


def _texts(given: Any, limits: Limits) -> list[str]:
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts:
        raise Refused(400, "Invalid 'input': expected a string or an array of at least one string.", param="input")
    if len(texts) > limits.inputs:
        message = (
            f"Invalid 'input': array too long. Expected an array with maximum length {limits.inputs}, "
            f"but got an array with length {len(texts)} instead."
        )
        raise Refused(400, message, param="input", code="array_above_max_length")
    if any(isinstance(text, int | list) for text in texts):
        raise Refused(400, "Invalid 'input': this server takes texts, not lists of tokens.", param="input")
    for at, text in enumerate(texts):
        if not isinstance(text, str) or not text:
            raise Refused(400, f"Invalid 'input[{at}]': input cannot be an empty string.", param="input")
    return texts


def _tokens(texts: Sequence[str], limits: Limits) -> tuple[int, ...]:
    tokens = tuple(count_tokens(text) for text in texts)
    for at, count in enumerate(tokens):
        if count > limits.input_tokens:
            message = f"Invalid 'input[{at}]': maximum input length is {limits.input_tokens} tokens."
            raise Refused(400, message, param="input")
    if sum(tokens) > limits.tokens:
        kind = "max_tokens_per_request"
        raise Refused(400, f"Requested {sum(tokens)} tokens, max {limits.tokens} tokens per request", kind, code=kind)
    return tokens


def _dimensions(body: Mapping[str, Any], model: EmbeddingModel) -> int | None:
    wanted = body.get("dimensions")
    if wanted is None:
        return None
    if not model.shortens:
        raise Refused(400, "This model does not support specifying dimensions.", param="dimensions")
    if not isinstance(wanted, int) or isinstance(wanted, bool) or not 1 <= wanted <= model.dimension:
        message = f"Invalid value for 'dimensions' = {wanted}. Must be between 1 and {model.dimension}."
        raise Refused(400, message, param="dimensions")
    return wanted


def vectors(asked: Asked, models: Mapping[str, EmbeddingModel]) -> np.ndarray:
    """One row of length 1 a text, (n, dimensions) float32; shortened as OpenAI does: cut, and made length 1 again."""
    found = models[asked.model].vectorise(asked.texts)
    return found if asked.dimensions is None else _normalised(found[:, : asked.dimensions].astype(np.float64))


def _normalised(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


Datum = tuple[int, np.ndarray]
"""An index and the vector that is said to be of the input there."""


def as_json(asked: Asked, data: Sequence[Datum]) -> dict[str, Any]:
    """The answer."""
    shape = _in_base64 if asked.base64 else _in_figures
    tokens = sum(asked.tokens)
    return {
        "object": "list",
        "data": [{"object": "embedding", "index": at, "embedding": shape(vector)} for at, vector in data],
        "model": asked.model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _in_base64(vector: np.ndarray) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()


def _in_figures(vector: np.ndarray) -> list[float | None]:
    """JSON has no word for what is not a number: it is null."""
    return [float(x) if np.isfinite(x) else None for x in vector]
