# SPDX-License-Identifier: Apache-2.0
"""What lies of a model on this host beside its config.json: its files' size, and ModelOpt's word.

A model id is found in the hub's cache (huggingface_hub 0.8..2: refs hold the commit that a branch
stood at, a snapshot of it links to blobs), a directory is its own place.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.errors import UsageError
from agent.host.models.files import weights_gib

QUANTIZATION_FILE = "hf_quant_config.json"
"""ModelOpt's own file: its checkpoints of 2024 and 2025 name their quantization only there."""

_BYTES = 1 << 20
_REF_BYTES = 256


def directory_of(model: str, revision: str | None, hf_home: str) -> Path | None:
    """Return the directory that holds the model's config.json; None when it is not here."""
    if model.startswith(("/", ".")) or Path(model).is_dir():
        place = Path(model)
    else:
        cached = Path(hf_home) / "hub" / f"models--{model.replace('/', '--')}"
        place = cached / "snapshots" / _commit(cached, revision or "main")
    return place if (place / "config.json").is_file() else None


def cached_gib(model: str, revision: str | None, hf_home: str) -> float | None:
    """Return the GiB of the weights' files in the hub's cache; None where some are not there.

    What is missing there will be fetched: then the weights are counted from config.json.
    """
    try:
        place = directory_of(model, revision, hf_home)
        return None if place is None else weights_gib(place)
    except (UsageError, OSError, ValueError):
        return None


def with_quantization(config: Mapping[str, Any], place: Path | None) -> Mapping[str, Any]:
    """Return config.json with what ModelOpt's own file adds; its own words count before."""
    said = _said_by_modelopt(place) if place is not None else {}
    if not said:
        return config
    own = config.get("quantization_config")
    own = own if isinstance(own, Mapping) else {}
    return {**config, "quantization_config": {"quant_method": "modelopt", **said, **own}}


def _said_by_modelopt(place: Path) -> Mapping[str, Any]:
    try:
        with (place / QUANTIZATION_FILE).open("rb") as file:
            document = json.loads(file.read(_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    inside = document.get("quantization") if isinstance(document, dict) else None
    return inside if isinstance(inside, dict) else {}


def _commit(cached: Path, revision: str) -> str:
    try:
        with (cached / "refs" / revision).open("rb") as file:
            commit = file.read(_REF_BYTES).decode("ascii", "replace").strip()
    except (OSError, ValueError):
        return revision
    return commit if commit.isalnum() else revision
