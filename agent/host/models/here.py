# SPDX-License-Identifier: Apache-2.0
"""The models that lie on this host: in caches of the hub, and in directories of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from agent.core.record import dataclass
from agent.errors import UsageError
from agent.host.models.config import read_model_config
from agent.host.models.files import weights_gib
from agent.host.models.snapshot import directory_of, with_files_beside

HUBS = (
    *("var/lib/vllm/huggingface", "root/.cache/huggingface", "home/*/.cache/huggingface"),
    *("data/huggingface", "data/hf", "srv/huggingface", "mnt/*/huggingface", "opt/huggingface"),
)
"""Homes of huggingface_hub below the root; the first is that of llmagent's own services."""

DIRECTORIES = (
    *("models/*", "models/*/*", "data/models/*", "data/models/*/*", "srv/models/*", "srv/*"),
    *("opt/models/*", "opt/models/*/*", "mnt/*/models/*", "home/*/models/*", "var/lib/models/*"),
)


@dataclass(frozen=True, slots=True)
class ModelHere:
    """One model: `name` as agent.toml takes it, `home` the HF_HOME that holds it or ""."""

    name: str
    config: Mapping[str, Any]
    files_gib: float
    place: str
    home: str = ""


def models_here(root: Path = Path("/")) -> tuple[ModelHere, ...]:
    """Return the models whose weights are whole, the largest first, each name once."""
    found = {model.name: model for model in reversed(list(_models(root)))}
    return tuple(sorted(found.values(), key=lambda model: -model.files_gib))


def _models(root: Path) -> Iterator[ModelHere]:
    for home in _existing(root, HUBS):
        for place in _existing(home, ("hub/models--*",)):
            name = place.name.removeprefix("models--").replace("--", "/", 1)
            yield from _model(name, directory_of(name, None, str(home)), str(home))
    for place in _existing(root, DIRECTORIES):
        yield from _model(str(place), place, "")


def _existing(root: Path, patterns: tuple[str, ...]) -> Iterator[Path]:
    for pattern in patterns:
        try:
            yield from sorted(place for place in root.glob(pattern) if place.is_dir())
        except OSError:
            continue


def _model(name: str, place: Path | None, home: str) -> Iterator[ModelHere]:
    if place is None:
        return
    try:
        config = read_model_config(str(place), None, "")
        size = weights_gib(place)
    except (UsageError, OSError, ValueError):
        return
    if config and size and config.get("architectures"):
        whole = with_files_beside(config, place)
        yield ModelHere(name, whole, size, str(place), home)
