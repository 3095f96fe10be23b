# SPDX-License-Identifier: Apache-2.0
"""Finds and reads a model's config.json, in a directory or in the cache of the Hugging Face hub."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

_BYTES = 4 << 20


def read_model_config(
    model: str, revision: str | None, hf_home: str
) -> Mapping[str, object] | None:
    """Return config.json of a model directory, or of the revision that the cache holds.

    None when it is not there, may not be read or is no JSON object; nothing is downloaded.
    """
    for directory in _places(model, revision or "main", Path(hf_home)):
        try:
            with (directory / "config.json").open("rb") as file:
                document = json.loads(file.read(_BYTES))
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(document, dict):
            return document
    return None


def _places(model: str, revision: str, hf_home: Path) -> list[Path]:
    if model.startswith(("/", ".")):
        return [Path(model)]
    # The layout of huggingface_hub 0.8..2: refs hold the commit that a branch stood at.
    cached = hf_home / "hub" / f"models--{model.replace('/', '--')}"
    try:
        commit = (cached / "refs" / revision).read_text().strip()
    except (OSError, UnicodeDecodeError):
        commit = revision
    return [cached / "snapshots" / commit]
