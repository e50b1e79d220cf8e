"""Which library computes with a model of this machine?

Torch is the reference: it runs every model, and takes a GPU where there is one. On a CPU, OpenVINO is several times as
fast; it takes over where it is installed and the model converts, which is done once and kept. What always holds: both
make vectors of one space, because a conversion is only used once its vectors were compared with torch's.
"""

from __future__ import annotations

import logging
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

from indexer.errors import ModelUnavailable
from indexer.models import Fingerprint, Model, sentence_transformers
from indexer.models.converted import Conversions, Unconvertible
from indexer.models.files import ModelFiles, describe
from indexer.models.sentence_transformers import SentenceTransformersModel
from indexer.providers import LocalSettings

_turn = threading.Lock()
"""Two threads cannot trace at once; the second finds what the first has kept, as other processes do."""

log = logging.getLogger("parecido")

GPU_DRIVERS = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/kfd", "/dev/dxg", "/dev/accel")
"""One of them is there where torch may find a GPU; asking torch itself would take seconds."""


def load(fingerprint: Fingerprint, device: str | None, settings: LocalSettings) -> Model:
    """The model of exactly this fingerprint; raises ModelUnavailable where it is another one by now.

    Raises it too where OpenVINO is asked for and cannot do it; where it is only taken for being faster, torch does.
    """
    files = _unchanged(fingerprint)
    if reason := torch_because(device, settings):
        if settings.backend == "openvino":
            raise ModelUnavailable(f"Model {fingerprint.name!r} cannot run on OpenVINO: {reason}.", param="backend")
        return sentence_transformers.load(fingerprint, files, device)
    return _converted(fingerprint, files, device, settings)


def torch_because(device: str | None, settings: LocalSettings) -> str | None:
    """Why torch computes, as far as can be told without asking it; None where OpenVINO may."""
    if settings.backend == "torch":
        return "backend is set to torch"
    if device is not None and device != "cpu":
        return f"the device is set to {device!r}, and it computes on the CPU alone"
    if settings.models_cache is None:
        return "there is no folder to keep the converted model in"
    if find_spec("openvino") is None:
        return "it is not installed (pip install 'parecido[openvino]')"
    return None


def may_have_gpu() -> bool:
    """Whether torch may find something faster than the CPU here."""
    return sys.platform == "darwin" or any(Path(driver).exists() for driver in GPU_DRIVERS)


def _converted(fingerprint: Fingerprint, files: ModelFiles, device: str | None, settings: LocalSettings) -> Model:
    """The model on OpenVINO, converted now if it was not before; on torch where there is a GPU, or that fails.

    The second time neither torch nor sentence_transformers is imported.
    """
    from indexer.models import openvino

    reference: SentenceTransformersModel | None = None
    if settings.backend == "auto" and device is None and may_have_gpu():
        reference = sentence_transformers.load(fingerprint, files, device)
        if reference.device != "cpu":
            return reference
    conversions = Conversions(settings.models_cache or Path(), fingerprint, openvino.computed_by())
    with _turn:
        try:
            if found := conversions.find():
                return openvino.load(found, fingerprint, settings.processes)
            with conversions.in_turn():
                if found := conversions.find():
                    return openvino.load(found, fingerprint, settings.processes)
                reference = reference or sentence_transformers.load(fingerprint, files, "cpu")
                told = {"event": "converting", "model": fingerprint.name}
                log.info("model %s: converting it for OpenVINO, once", fingerprint.name, extra=told)
                return openvino.convert(reference, conversions, settings.processes)
        except Unconvertible as error:
            _told(fingerprint.name, settings, error)
            return reference or sentence_transformers.load(fingerprint, files, "cpu")


def _told(name: str, settings: LocalSettings, error: Unconvertible) -> None:
    """Say that torch computes, and why; raises ModelUnavailable where OpenVINO was asked for."""
    if settings.backend == "openvino":
        raise ModelUnavailable(
            f'Model {name!r} cannot run on OpenVINO: {error}. Set backend to "auto".', param="backend"
        ) from error
    told = {"event": "not_converted", "model": name}
    log.info("model %s: torch computes, because %s", name, error, extra=told)


def _unchanged(fingerprint: Fingerprint) -> ModelFiles:
    files = describe(fingerprint.name)
    if files.revision != fingerprint.revision:
        raise ModelUnavailable(
            f"The files of model {fingerprint.name!r} have changed since the collection was built "
            f"(now {files.revision[:12]}, then {fingerprint.revision[:12]}): bring the old files back, or index again.",
            param="model",
        )
    return files
