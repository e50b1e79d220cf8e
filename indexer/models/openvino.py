"""How does OpenVINO compute what torch would, in less time on a CPU?

The only module that imports openvino. A sentence-transformers model is converted once, as a whole: transformer,
pooling, normalisation. What always holds: a conversion is used only once its vectors, of texts of all lengths, were
found to be torch's (cosine at least LEAST_COSINE); and a text has one vector, whatever stands beside it.

Each core has a stream of its own, so that none waits for another, and none is tied to its core, so that several
processes do not sit on the same one. In bulk the streams are never idle: while an answer is kept, the next is computed.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import queue
import sys
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from indexer import storage
from indexer.cores import cores
from indexer.errors import ModelUnavailable, StorageError
from indexer.models import Allows, Embedded, Fingerprint, whatever_it_costs
from indexer.models.converted import MODEL, TOKENIZER, WEIGHTS, Conversions, Converted, Unconvertible
from indexer.models.packing import batches, rounded
from indexer.models.slices import slices
from indexer.models.tokenizer import LocalTokenizer, read_tokenizer
from indexer.vectors import Vectors, normalise

# Else the import alone writes an id into the user's home, and a conversion is told to its makers: nothing leaves here.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino  # noqa: E402 – after that

if TYPE_CHECKING:
    from indexer.models.sentence_transformers import SentenceTransformersModel

VERSION: str = openvino.get_version()
LEAST_COSINE = 0.9995
STEPS = {"bf16": 16, "f32": 8}
"""Lengths are rounded up to a multiple of it, by precision. In half precision, kernels that cannot fill their vector
registers round otherwise, and a text's vector came to depend on how far its row was filled up."""
AHEAD = 1
"""Slices under way while one is kept."""
_WORDS = "Water is stored in the leaves, and 3.5 % of it in the roots – über Nacht, 水は葉に。 "
PROBES = ("", "a", "π 🚀", *((_WORDS * 40)[: 80 * step * step] for step in range(1, 5)), _WORDS * 40)
"""Texts of all lengths, from no token of their own to more than most models read."""


class OpenVINOModel:
    """A converted model; calls from several threads are computed side by side, as many as there are streams."""

    def __init__(self, converted: Converted, fingerprint: Fingerprint, threads: int) -> None:
        precision = _precision()
        self.fingerprint = fingerprint
        self.device = "cpu"
        self.numeric_path = f"openvino {precision} cpu"
        self.window = converted.facts.window
        self.tokenizer, self._tokens = _tokenizers(converted)
        self._pad = converted.facts.pad
        self._streams = threads
        self._step = STEPS[precision]
        compiled = _core().compile_model(
            str(converted.folder / MODEL),
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": precision,
                "NUM_STREAMS": threads,
                "INFERENCE_NUM_THREADS": threads,
                "ENABLE_CPU_PINNING": False,
            },
        )
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(threads):
            self._idle.put(compiled.create_infer_request())
        self._infer([[self._pad]])  # two threads that were the first to ask openvino would wait for each other for ever

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """One row of length 1 for each text, (n, dimension) float32."""
        return self._embed(texts, self.fingerprint.document_prompt)

    def embed_query(self, texts: Sequence[str]) -> Vectors:
        """The same for queries, with the query prompt."""
        return self._embed(texts, self.fingerprint.query_prompt)

    def embed_stream(self, texts: Sequence[str], allows: Allows = whatever_it_costs) -> Iterator[Embedded]:
        """The same for many texts, slice by slice; it costs nothing, so that nobody is asked."""
        return self._stream(texts, self.fingerprint.document_prompt)

    def warm(self) -> None:
        """Have it compute once."""
        self.embed_query(["warm"])

    def _embed(self, texts: Sequence[str], prompt: str) -> Vectors:
        vectors = np.empty((len(texts), self.fingerprint.dimension), dtype=np.float32)
        if len(texts) == 1:
            vectors[:] = self._infer(self._ids(texts, prompt))
            return vectors
        for answer in self._stream(texts, prompt):
            vectors[answer.rows] = answer.vectors
        return vectors

    def _stream(self, texts: Sequence[str], prompt: str) -> Iterator[Embedded]:
        pool = ThreadPoolExecutor(self._streams, thread_name_prefix="openvino")
        try:
            begun: deque[_Begun] = deque()
            for rows in slices(texts):
                begun.append(self._begin(pool, rows, self._ids([texts[row] for row in rows], prompt)))
                if len(begun) > AHEAD:
                    yield self._finished(begun.popleft())
            while begun:
                yield self._finished(begun.popleft())
        finally:
            pool.shutdown(cancel_futures=True)

    def _ids(self, texts: Sequence[str], prompt: str) -> list[list[int]]:
        """The tokens of each text, cut at the window."""
        encoded = self._tokens.encode_batch_fast([prompt + text for text in texts] if prompt else list(texts))
        return [each.ids for each in encoded]

    def _begin(self, pool: ThreadPoolExecutor, rows: list[int], ids: list[list[int]]) -> _Begun:
        parts = list(batches([len(each) for each in ids], self._step, self._streams))
        return _Begun(rows, parts, [pool.submit(self._infer, [ids[member] for member in part]) for part in parts])

    def _finished(self, begun: _Begun) -> Embedded:
        vectors = np.empty((len(begun.rows), self.fingerprint.dimension), dtype=np.float32)
        for part, future in zip(begun.parts, begun.futures, strict=True):
            vectors[part] = future.result()
        return Embedded(begun.rows, vectors)

    def _infer(self, ids: Sequence[list[int]]) -> Vectors:
        """The vectors of one batch, which fits together."""
        length = rounded(max(len(each) for each in ids), self._step)
        tokens = np.full((len(ids), length), self._pad, dtype=np.int64)
        mask = np.zeros((len(ids), length), dtype=np.int64)
        for row, each in enumerate(ids):
            tokens[row, : len(each)] = each
            mask[row, : len(each)] = 1
        request = self._idle.get()
        try:
            return normalise(request.infer([tokens, mask], share_inputs=True)[0])
        except (RuntimeError, ValueError) as error:
            raise ModelUnavailable(f"Model {self.fingerprint.name!r} failed to embed: {error}.") from error
        finally:
            self._idle.put(request)


@dataclass(frozen=True, slots=True)
class _Begun:
    """A slice that is being computed."""

    rows: list[int]
    parts: list[list[int]]
    """The batches, by numbers into the rows."""
    futures: list[Future[Vectors]]


def computed_by() -> str:
    """The version of OpenVINO, and the precision in which this processor computes."""
    return f"{VERSION} {_precision()}"


@functools.cache
def _core() -> Any:
    return openvino.Core()


def _precision() -> str:
    return "bf16" if "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "f32"


def load(converted: Converted, fingerprint: Fingerprint, processes: int = 1) -> OpenVINOModel:
    """A model that was converted before; raises Unconvertible where it does not load, or does not compute."""
    try:
        return OpenVINOModel(converted, fingerprint, cores(processes))
    except (RuntimeError, ModelUnavailable) as error:
        raise Unconvertible(f"{str(converted.folder)!r} does not load ({_first_line(error)})") from error


def convert(reference: SentenceTransformersModel, conversions: Conversions, processes: int = 1) -> OpenVINOModel:
    """Convert a model, compare it with the reference, and keep it; raises Unconvertible where it cannot be used.

    Weights are kept in half precision where the vectors stay the reference's, in single precision else.
    """
    graph = _graph(reference)
    with conversions.making() as folder:
        worst = 0.0
        for half in (True, False):
            try:
                for name in (MODEL, WEIGHTS):
                    storage.remove(folder / name)  # never written over: it is mapped
                openvino.save_model(graph, str(folder / MODEL), compress_to_fp16=half)
                made = _sealed(reference, conversions, folder)
                model = OpenVINOModel(made, reference.fingerprint, cores(processes))
                worst = _worst_cosine(model, reference)
            except (RuntimeError, ValueError, StorageError, ModelUnavailable) as error:
                raise Unconvertible(f"OpenVINO fails with it ({_first_line(error)})") from error
            if worst >= LEAST_COSINE:
                conversions.keep(made)
                return model
        raise Unconvertible(f"OpenVINO's vectors differ from torch's (cosine {worst:.5f})")


def _graph(reference: SentenceTransformersModel) -> Any:
    """OpenVINO's form of the reference, of (texts, tokens) ids and mask to (texts, dimension)."""
    traceable = reference.traceable()
    inputs = [(name, openvino.PartialShape([-1, -1]), openvino.Type.i64) for name in traceable.example]
    try:
        with _quiet():
            return openvino.convert_model(traceable.module, example_input=traceable.example, input=inputs)
    except Exception as error:  # whatever tracing somebody's model raises
        raise Unconvertible(f"it does not convert ({_first_line(error)})") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Nothing is said of a tracing: it warns of every branch, and what comes of it is compared instead."""
    talkative = logging.getLogger("transformers")
    level = talkative.level
    talkative.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        talkative.setLevel(level)


def _sealed(reference: SentenceTransformersModel, conversions: Conversions, folder: Path) -> Converted:
    storage.remove(folder / TOKENIZER)
    storage.write_file(folder / TOKENIZER, reference.tokenizer.to_json())
    return conversions.seal(folder, reference.window, reference.pad)


def _worst_cosine(model: OpenVINOModel, reference: SentenceTransformersModel) -> float:
    short = PROBES[:-2]
    pairs = [
        (model.embed_documents(PROBES), reference.embed_documents(PROBES)),
        (model.embed_query(short), reference.embed_query(short)),
    ]
    return min(float(np.vecdot(ours, theirs).min()) for ours, theirs in pairs)


def _tokenizers(converted: Converted) -> tuple[LocalTokenizer, Any]:
    """One that counts, and one that cuts at the window."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # the cores are taken
    counting = read_tokenizer(converted.folder)
    if counting is None:
        raise ModelUnavailable(f"There is no {str(converted.folder / TOKENIZER)!r}.", param="backend")
    return counting, counting.cutting(converted.facts.window)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
