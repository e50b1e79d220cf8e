"""Do OpenVINO's vectors mean what torch's do, and does a text have one vector, whatever stands beside it?"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from openvino_support import copy_of_the_model, load, real_texts
from support import NAME, settings_for, write_rows

from indexer.build import build
from indexer.cores import cores
from indexer.models import Model
from indexer.models.openvino import LEAST_COSINE
from indexer.models.slices import SLICE
from indexer.progress import progress
from indexer.providers import LocalSettings, Providers
from indexer.vectors import Vectors

SENTENCE = "Plants of the desert store water in thick leaves, and lose little of it by day. "
ODD = [
    "",
    " ",
    "\n\n",
    "a",
    "π ≈ 3.14159 🚀",
    "Der Hund bellt.",
    "水は葉に蓄えられる。",
    "\x00\ufffd",
    "ﬁ ǅ İ",
    "a" * 5000,
]


@pytest.fixture(scope="module")
def fast(caches: Path) -> Model:
    """The packaged model on OpenVINO."""
    return load(caches)


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Real ones: what Python's standard library says of itself."""
    return real_texts(120)


@pytest.fixture(scope="module")
def expected(model: Model, texts: list[str]) -> Vectors:
    """What torch makes of them."""
    return model.embed_documents(texts)


@pytest.fixture(scope="module")
def ours(fast: Model, texts: list[str]) -> Vectors:
    """What OpenVINO makes of them."""
    return fast.embed_documents(texts)


def cosines(ours: Vectors, theirs: Vectors) -> Vectors:
    found: Vectors = np.vecdot(ours.astype(np.float64), theirs.astype(np.float64))
    return found


def nearest(vectors: Vectors, count: int = 10) -> list[set[int]]:
    """The rows nearest to each, itself left out."""
    similar = vectors @ vectors.T
    np.fill_diagonal(similar, -2)
    return [set(row) for row in np.argsort(-similar, axis=1)[:, :count].tolist()]


def cut(tokens: int, model: Model) -> str:
    """A text of so many tokens, special ones included."""
    words = ["water"] * (tokens - model.tokenizer.special)
    return " ".join(words)


def test_it_is_openvino_that_computes(fast: Model) -> None:
    assert fast.numeric_path in {"openvino bf16 cpu", "openvino f32 cpu"}
    assert (fast.device, fast.window) == ("cpu", 256)


def test_vectors_of_real_texts_are_those_of_torch(ours: Vectors, expected: Vectors) -> None:
    assert (ours.shape, ours.dtype) == (expected.shape, np.float32)
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1, atol=1e-6)
    assert cosines(ours, expected).min() >= LEAST_COSINE


def test_the_nearest_texts_are_the_same_as_with_torch(texts: list[str], ours: Vectors, expected: Vectors) -> None:
    assert len(set(texts)) == len(texts)
    both = zip(nearest(ours), nearest(expected), strict=True)
    assert sum(len(a & b) for a, b in both) >= 0.99 * 10 * len(texts)


def test_texts_of_every_length_have_the_vectors_of_torch(fast: Model, model: Model) -> None:
    lengths = [2, 3, *range(7, 262, 12), 8, 9, 16, 17, 254, 255, 256, 257, 300]
    texts = [cut(tokens, fast) for tokens in lengths] + ODD
    assert cosines(fast.embed_documents(texts), model.embed_documents(texts)).min() >= LEAST_COSINE
    assert cosines(fast.embed_query(texts), model.embed_query(texts)).min() >= LEAST_COSINE


def test_a_text_has_one_vector_whatever_stands_beside_it(fast: Model, texts: list[str]) -> None:
    some = [*ODD, *texts[::4]]
    together = fast.embed_documents(some)
    np.testing.assert_allclose(together, [fast.embed_documents([text])[0] for text in some], atol=2e-6)
    np.testing.assert_allclose(together, [fast.embed_query([text])[0] for text in some], atol=2e-6)
    np.testing.assert_allclose(together[::-1], fast.embed_documents(some[::-1]), atol=2e-6)


def test_the_same_is_asked_twice_and_answered_twice_bit_for_bit(fast: Model, texts: list[str]) -> None:
    assert (fast.embed_documents(texts[:40]) == fast.embed_documents(texts[:40])).all()


def test_no_texts_are_no_rows(fast: Model) -> None:
    assert fast.embed_documents([]).shape == fast.embed_query([]).shape == (0, 384)
    assert list(fast.embed_stream([])) == []


def test_a_stream_answers_each_text_once_in_bounded_answers(fast: Model, texts: list[str]) -> None:
    many = [f"{text[:60]} {number}" for number, text in enumerate(texts * 3)]
    assert len(many) > SLICE
    rows: list[int] = []
    for answer in fast.embed_stream(many):
        assert answer.vectors is not None
        assert len(answer.rows) == len(answer.vectors) <= SLICE
        assert answer.billed == 0
        rows += answer.rows
    assert sorted(rows) == list(range(len(many)))


def test_a_stream_that_is_left_early_leaves_the_model_usable(fast: Model, texts: list[str]) -> None:
    stream = fast.embed_stream([text[:60] for text in texts * 3])
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert fast.embed_query(["one"]).shape == (1, 384)


def test_several_threads_are_answered_as_one_is(fast: Model, texts: list[str]) -> None:
    parts = [texts[start:48:8] for start in range(8)]

    def ask(part: Sequence[str]) -> Vectors:
        return np.vstack([fast.embed_documents(part[:4]), fast.embed_query(part[4:])])

    with ThreadPoolExecutor(2 * cores()) as pool:
        answers = list(pool.map(ask, parts))
    for part, answer in zip(parts, answers, strict=True):
        np.testing.assert_allclose(answer, ask(part), atol=2e-6)


def test_prompts_are_put_before_texts_as_torch_puts_them(tmp_path: Path, caches: Path, model: Model) -> None:
    folder = copy_of_the_model(tmp_path / "model")
    prompted = load(caches, str(folder), query_prompt="query: ", document_prompt="passage: ")
    texts = ["A cat sleeps.", SENTENCE, ""]
    for ours, prompt in ((prompted.embed_query(texts), "query: "), (prompted.embed_documents(texts), "passage: ")):
        assert cosines(ours, model.embed_documents([prompt + text for text in texts])).min() >= LEAST_COSINE
    (answer,) = prompted.embed_stream(texts)
    assert answer.vectors is not None
    np.testing.assert_allclose(answer.vectors, prompted.embed_documents([texts[row] for row in answer.rows]), atol=2e-6)


def test_tokens_are_counted_as_with_torch(fast: Model, model: Model, texts: list[str]) -> None:
    some = [*ODD[:-1], *texts[:50]]
    assert [fast.tokenizer.count(t) for t in some] == [model.tokenizer.count(t) for t in some]
    assert fast.tokenizer.special == model.tokenizer.special


def test_a_run_says_what_computed_its_vectors(tmp_path: Path, caches: Path) -> None:
    source = write_rows(tmp_path / "rows.jsonl", [{"id": "a", "text": "one"}, {"id": "b", "text": "two"}])
    told = {}
    for backend in ("auto", "torch"):
        providers = Providers(local=LocalSettings(backend=backend, models_cache=caches))  # type: ignore[arg-type]
        report = build(tmp_path / backend, NAME, settings_for(source), progress(NAME), providers=providers)
        told[backend] = report.numeric_path
        again = build(tmp_path / backend, NAME, settings_for(source), progress(NAME), providers=providers)
        assert (again.published, again.numeric_path) == (False, None)
    assert told["torch"] == "torch float32 cpu"
    assert str(told["auto"]).startswith("openvino ")


FIRST_AT_ONCE = """
import faulthandler, sys, threading
from pathlib import Path
import openvino
from openvino_support import load
load(Path(sys.argv[1]))
sys.setswitchinterval(1e-6)
faulthandler.dump_traceback_later(30, exit=True)
threads = [threading.Thread(target=openvino.Type.i64.to_dtype) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def test_the_first_texts_may_come_from_several_threads_at_once(fast: Model, caches: Path) -> None:
    """Threads that are the first to ask the library for its types wait for each other for ever, more often than not."""
    for _ in range(3):
        command = [sys.executable, "-c", FIRST_AT_ONCE, str(caches)]
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_nothing_is_told_to_its_makers(tmp_path: Path) -> None:
    """The library alone writes an id into the user's home as soon as it is imported, and reports conversions."""
    script = (
        "import sys; from indexer.models import openvino\n"
        "import openvino.tools.ovc.convert_impl as c, openvino.tools.ovc.telemetry_stub as stub\n"
        "assert c.tm is stub, c.tm\n"
        "assert not any(name.startswith('openvino_telemetry.') for name in sys.modules)"
    )
    environment = {**os.environ, "HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)
    assert list(tmp_path.iterdir()) == []
