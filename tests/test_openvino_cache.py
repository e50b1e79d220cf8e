"""Is a model converted once, kept whole, and used without torch from then on?"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from openvino_support import conversions, copy_of_the_model, identify, load
from support import flip

from indexer import models
from indexer.errors import ModelUnavailable, StorageError
from indexer.models import Model, openvino
from indexer.models.converted import FACTS, MODEL, TOKENIZER, WEIGHTS
from indexer.models.local import torch_because
from indexer.providers import LocalSettings, Providers

HEAVY = ("torch", "transformers", "sentence_transformers")
SCRIPT = """
import json, sys
{before}
from pathlib import Path
from indexer import models
from indexer.config import CollectionSettings
from indexer.providers import LocalSettings, Providers
fingerprint = models.identify(CollectionSettings(source=("-",)))
local = LocalSettings(models_cache=Path(sys.argv[1]))
model = models.load(fingerprint, None, Providers(local=local))
vector = model.embed_query(["one text"])[0]
print(json.dumps([model.numeric_path, vector.tolist(), [name for name in {heavy!r} if name in sys.modules]]))
"""


def started(cache: Path, before: str = "", environment: dict[str, str] | None = None) -> tuple[str, list[float], Any]:
    """A process that loads the packaged model: what computes, a vector, and which heavy libraries it has imported."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(before=before, heavy=HEAVY), str(cache)],
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=True,
    )
    path, vector, heavy = json.loads(done.stdout)
    return path, vector, heavy


@pytest.fixture(scope="module")
def kept(caches: Path) -> Path:
    """A folder of caches that has the packaged model's conversion."""
    load(caches)
    return caches


@pytest.fixture(scope="module")
def graph(model: Model) -> Any:
    """OpenVINO's form of the packaged model, before anything of it is kept."""
    return openvino._graph(model)  # type: ignore[arg-type]


@pytest.fixture
def traced(graph: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Conversions in this process begin with that form and are compared on short texts: the same is kept, or is not."""
    monkeypatch.setattr(openvino, "_graph", lambda _: graph)
    monkeypatch.setattr(openvino, "PROBES", openvino.PROBES[:5])


@pytest.fixture
def copied(kept: Path, tmp_path: Path) -> Path:
    """A copy of it, of which the files may be damaged."""
    found = conversions(kept).find()
    assert found is not None
    folder = tmp_path / "cache" / found.folder.name
    folder.mkdir(parents=True)
    for path in found.folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return tmp_path / "cache"


def test_a_later_start_needs_neither_torch_nor_a_conversion(kept: Path) -> None:
    before = sorted(path.name for path in kept.iterdir())
    path, vector, heavy = started(kept)
    assert (path.split()[0], heavy) == ("openvino", [])
    np.testing.assert_allclose(vector, load(kept).embed_query(["one text"])[0], atol=2e-6)
    assert sorted(path.name for path in kept.iterdir()) == before


def test_the_first_start_gives_the_vectors_of_the_later_ones(tmp_path: Path) -> None:
    first, second = load(tmp_path / "new"), load(tmp_path / "new")
    texts = ["one text", "and another"]
    assert (first.embed_documents(texts) == second.embed_documents(texts)).all()


@pytest.mark.parametrize("name", [MODEL, WEIGHTS, TOKENIZER, FACTS])
@pytest.mark.parametrize("damage", ["changed", "cut", "gone"])
def test_a_damaged_conversion_is_not_used(copied: Path, name: str, damage: str) -> None:
    found = conversions(copied).find()
    assert found is not None
    path = found.folder / name
    if damage == "changed":
        flip(path, path.stat().st_size // 2)
    elif damage == "cut":
        os.truncate(path, path.stat().st_size - 1)
    else:
        path.unlink()
    assert conversions(copied).find() is None


def test_a_damaged_conversion_is_made_anew(copied: Path, traced: None) -> None:
    found = conversions(copied).find()
    assert found is not None
    flip(found.folder / WEIGHTS, 1_000_000)
    assert load(copied).embed_query(["one"]).shape == (1, 384)
    assert conversions(copied).find() is not None
    assert [path.name for path in copied.iterdir()] == [found.folder.name]


def test_a_killed_conversion_leaves_nothing_that_is_used(tmp_path: Path) -> None:
    """It is killed when its files are all there, but not under their name yet."""
    before = (
        "from indexer.models.converted import Conversions as C; import os; C.keep = lambda *_: os.kill(os.getpid(), 9)"
    )
    with pytest.raises(subprocess.CalledProcessError) as caught:
        started(tmp_path / "cache", before)
    assert caught.value.returncode == -signal.SIGKILL
    (left,) = (tmp_path / "cache").iterdir()
    assert {path.name for path in left.iterdir()} == {MODEL, WEIGHTS, TOKENIZER, FACTS}
    assert conversions(tmp_path / "cache").find() is None
    with conversions(tmp_path / "cache").making():
        assert left.exists(), "whoever makes it may be alive"
    os.utime(left, (0, 0))
    with conversions(tmp_path / "cache").making() as folder:
        assert [path.name for path in (tmp_path / "cache").iterdir()] == [folder.name]


def test_two_that_convert_at_once_keep_one_of_both(tmp_path: Path, traced: None) -> None:
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: load(tmp_path / "cache"), range(2)))
    vectors = [model.embed_query(["one"]) for model in both]
    assert (vectors[0] == vectors[1]).all()
    assert len(list((tmp_path / "cache").iterdir())) == 1
    assert conversions(tmp_path / "cache").find() is not None


def test_of_processes_that_start_at_once_one_converts_and_the_others_wait_for_it(tmp_path: Path) -> None:
    with ThreadPoolExecutor(3) as pool:
        each = list(pool.map(lambda _: started(tmp_path / "cache"), range(3)))
    assert sorted(heavy != [] for _, _, heavy in each) == [False, False, True]
    assert each[0][:2] == each[1][:2] == each[2][:2]


def test_one_that_was_compared_in_another_precision_is_made_anew(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home may be shared by machines whose processors differ, and an image be built on another than it runs on."""
    assert conversions(copied).find() is not None
    there = openvino._precision()
    monkeypatch.setattr(openvino, "_precision", lambda: "bf16" if there == "f32" else "f32")
    assert conversions(copied).find() is None


def test_another_is_first_while_one_converts(copied: Path) -> None:
    made = conversions(copied).find()
    assert made is not None
    with conversions(copied).making() as folder:
        for path in made.folder.iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        conversions(copied).keep(conversions(copied).seal(folder, 256, 0))
    assert conversions(copied).find() == made


def test_where_nothing_can_be_kept_it_is_said_and_the_model_runs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, traced: None
) -> None:
    (tmp_path / "file").write_text("no folder")
    with caplog.at_level(logging.WARNING, "parecido"):
        model = load(tmp_path / "file" / "cache")
    assert model.numeric_path.startswith("openvino")
    assert model.embed_query(["one"]).shape == (1, 384)
    (told,) = [record.getMessage() for record in caplog.records if record.name == "parecido"]
    assert "every start converts it again" in told
    assert "Set models_cache" in told


def test_without_openvino_torch_computes(kept: Path) -> None:
    blocked = "sys.modules['openvino'] = None"
    path, vector, heavy = started(kept, blocked)
    assert (path, heavy) == ("torch float32 cpu", list(HEAVY))
    assert np.dot(vector, load(kept).embed_query(["one text"])[0]) > 0.9995


def test_a_model_of_more_than_ids_and_mask_stays_with_torch(
    tmp_path: Path, kept: Path, model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    folder = copy_of_the_model(tmp_path / "model")
    pooling = folder / "1_Pooling" / "config.json"
    pooling.write_text(json.dumps({**json.loads(pooling.read_text()), "include_prompt": False}))
    with caplog.at_level(logging.INFO, "parecido"):
        fallen_back = load(kept, str(folder), "auto")
    assert fallen_back.numeric_path == "torch float32 cpu"
    assert "torch computes, because its pooling leaves the prompt out" in caplog.text
    np.testing.assert_allclose(fallen_back.embed_query(["one"]), model.embed_query(["one"]), atol=2e-6)
    with pytest.raises(ModelUnavailable, match="cannot run on OpenVINO: its pooling leaves the prompt out"):
        load(kept, str(folder), "openvino")


def test_a_conversion_whose_vectors_differ_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, traced: None
) -> None:
    monkeypatch.setattr("indexer.models.openvino.LEAST_COSINE", 1.1)
    model = load(tmp_path / "cache", backend="auto")
    assert model.numeric_path == "torch float32 cpu"
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_disk_that_fails_leaves_torch_to_compute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, traced: None
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("no space left")

    monkeypatch.setattr("openvino.save_model", fails)
    model = load(tmp_path / "cache", backend="auto")
    assert model.numeric_path == "torch float32 cpu"
    with pytest.raises(ModelUnavailable, match="no space left"):
        load(tmp_path / "cache")


@pytest.mark.parametrize("error", [RuntimeError("no such kernel"), ValueError("row 0 has no direction")])
@pytest.mark.parametrize("converted_before", [True, False])
def test_a_processor_that_fails_with_it_leaves_torch_to_compute(
    copied: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    traced: None,
    converted_before: bool,
    error: Exception,
) -> None:
    def fails(*_: object) -> None:
        raise error

    cache = copied if converted_before else tmp_path / "new"
    monkeypatch.setattr(openvino, "normalise", fails)
    assert load(cache, backend="auto").numeric_path == "torch float32 cpu"
    with pytest.raises(ModelUnavailable, match=f"cannot run on OpenVINO: .*{error}"):
        load(cache)


def test_a_model_whose_files_have_changed_is_refused_here_too(tmp_path: Path, kept: Path) -> None:
    folder = copy_of_the_model(tmp_path / "model")
    fingerprint = identify(str(folder))
    (folder / "vocab.txt").write_text((folder / "vocab.txt").read_text() + " ")
    providers = Providers(local=LocalSettings(models_cache=kept))
    with pytest.raises(ModelUnavailable, match="have changed since"):
        models.load(fingerprint, "cpu", providers)


def test_torch_computes_where_it_is_asked_to_or_has_a_gpu(tmp_path: Path) -> None:
    here = {"models_cache": tmp_path}
    assert torch_because(None, LocalSettings(**here)) is None  # type: ignore[arg-type]
    assert torch_because("cpu", LocalSettings(**here)) is None  # type: ignore[arg-type]
    assert torch_because(None, LocalSettings(backend="torch", models_cache=tmp_path)) is not None
    assert "'cuda:1'" in str(torch_because("cuda:1", LocalSettings(models_cache=tmp_path)))
    assert torch_because(None, LocalSettings()) is not None


def test_openvino_that_is_asked_for_and_cannot_is_an_error(tmp_path: Path) -> None:
    providers = Providers(local=LocalSettings(backend="openvino", models_cache=tmp_path))
    with pytest.raises(ModelUnavailable, match="computes on the CPU alone"):
        models.load(identify(), "cuda", providers)


def test_a_disk_that_is_full_when_it_is_kept_is_told_and_the_model_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, traced: None
) -> None:
    def full(*_: object) -> None:
        raise StorageError("The disk is full.")

    monkeypatch.setattr("indexer.storage.move_folder", full)
    assert load(tmp_path / "cache").embed_query(["one"]).shape == (1, 384)
    assert "every start converts it again: The disk is full." in caplog.text
    assert list((tmp_path / "cache").iterdir()) == []
