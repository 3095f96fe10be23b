# SPDX-License-Identifier: Apache-2.0
"""What lies of a model on this host beside its config.json: its files' size, and what they say.

A model id is found in the hub's cache (huggingface_hub 0.8..2: refs hold the commit that a branch
stood at, a snapshot of it links to blobs), a directory is its own place.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.errors import UsageError
from agent.host.models.files import weights_gib
from agent.host.models.json_file import parse
from agent.host.models.place import ModelPlace, cached, local

QUANTIZATION_FILE = "hf_quant_config.json"
"""ModelOpt's own file: its checkpoints of 2024 and 2025 name their quantization only there."""

MODULES_FILE = "modules.json"
"""What a model of sentence-transformers is put together of."""

_POOLING = ".Pooling"
_BYTES = 1 << 20


def directory_of(model: str, revision: str | None, hf_home: str) -> Path | None:
    """Return the directory that holds the model's config.json; None when it is not here."""
    try:
        if model.startswith(("/", ".")) or Path(model).is_dir():
            place: ModelPlace | None = local(model)
        else:
            place = cached(Path(hf_home) / "hub", model, revision or "main")
        return place.directory if place is not None and place.has("config.json") else None
    except OSError:
        return None


def cached_gib(model: str, revision: str | None, hf_home: str) -> float | None:
    """Return the GiB of the weights' files in the hub's cache; None where some are not there.

    What is missing there will be fetched: then the weights are counted from config.json.
    """
    try:
        place = directory_of(model, revision, hf_home)
        return None if place is None else weights_gib(place)
    except (UsageError, OSError, ValueError):
        return None


def with_files_beside(config: Mapping[str, Any], place: Path | None) -> Mapping[str, Any]:
    """Return config.json with what other files add, whose words count after its own.

    They are ModelOpt's quantization, and "pools" for a model of sentence-transformers.
    """
    if place is None:
        return config
    if _pools(place):
        config = {**config, "pools": True}
    said = _said_by_modelopt(place)
    if not said:
        return config
    own = config.get("quantization_config")
    own = own if isinstance(own, Mapping) else {}
    return {**config, "quantization_config": {"quant_method": "modelopt", **said, **own}}


def _pools(place: Path) -> bool:
    """Tell whether vLLM pools the model unasked, whatever its architecture.

    It does where modules.json lists a module that pools (transformers_utils/config.py, 0.8..0.33).
    """
    try:
        modules = parse(ModelPlace(place).read(MODULES_FILE, _BYTES))
    except (OSError, ValueError):
        return False
    listed = modules if isinstance(modules, list) else []
    kinds = [item.get("type") for item in listed if isinstance(item, dict)]
    return any(isinstance(kind, str) and kind.endswith(_POOLING) for kind in kinds)


def _said_by_modelopt(place: Path) -> Mapping[str, Any]:
    try:
        inside = ModelPlace(place).read_object(QUANTIZATION_FILE, _BYTES).get("quantization")
    except (OSError, ValueError):
        return {}
    return inside if isinstance(inside, dict) else {}
