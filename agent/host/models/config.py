# SPDX-License-Identifier: Apache-2.0
"""Finds and reads a model's config.json, in a directory or in the cache of the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from agent.host.models.place import cached, local

CONFIG = "config.json"


def read_model_config(
    model: str, revision: str | None, hf_home: str
) -> Mapping[str, object] | None:
    """Return config.json of a model directory, or of the revision that the cache holds.

    None when it is not there, may not be read or is no JSON object; nothing is downloaded.
    """
    try:
        if model.startswith(("/", ".")):
            place = local(model)
        else:
            found = cached(Path(hf_home) / "hub", model, revision or "main")
            if found is None:
                return None
            place = found
        return place.read_object(CONFIG)
    except (OSError, ValueError):
        return None
