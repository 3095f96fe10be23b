# SPDX-License-Identifier: Apache-2.0
"""Reads the hub's cache on disk: whether a model is complete there. Nothing is asked or written.

Layout: huggingface_hub 0.8..2.x, models--ORG--NAME/{refs,snapshots,blobs}; a snapshot of a commit
holds links to blobs, and a file that is not fetched whole has no link.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from agent.core.hub.cache import CacheFacts, Repository, hub_cache, may_go_offline, repositories
from agent.core.settings.service import Settings
from agent.host.files.foreign import shown
from agent.host.models.json_file import files_of_index
from agent.host.models.place import ModelPlace, cached

INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
WEIGHTS = ("*.safetensors", "*.bin", "*.pt", "*.gguf")
NO_WEIGHTS = frozenset({"training_args.bin", "optimizer.bin", "scheduler.bin"})
TOKENIZERS = ("tokenizer*", "*.model", "tekken.json", "vocab*", "*.tiktoken")
MISTRAL = "params.json"
"""Mistral's own format beside the usual one: which of the two is loaded depends on the vLLM."""


def needs_no_hub(settings: Settings) -> bool:
    """Tell whether the service may start with the hub away, and never ask it."""
    if not may_go_offline(settings):
        return False
    cache = look(hub_cache(settings), repositories(settings))
    return cache.complete and cache.sure


def look(directory: str, repositories: Sequence[Repository]) -> CacheFacts:
    """Tell what a start would lack of these repositories; raises nothing."""
    try:
        free = _free_bytes(Path(directory))
        for repository in repositories:
            lacks = _lacks(Path(directory), repository)
            if lacks:
                return CacheFacts(directory, lacks=lacks, free_bytes=free)
        sure = all(_is_sure(Path(directory), repository) for repository in repositories)
        model = _snapshot(Path(directory), repositories[0])
        commit = "" if model is None else model.directory.name
        return CacheFacts(directory, sure=sure, free_bytes=free, commit=commit)
    except OSError as error:
        where = shown(error.filename or directory)
        why = error.strerror or shown(error)
        return CacheFacts(directory, problem=f"{directory} cannot be read: {where} {why}")


def _free_bytes(place: Path) -> int:
    while not place.exists() and place != place.parent:
        place = place.parent
    disk = os.statvfs(place)
    return disk.f_bavail * disk.f_frsize


def _snapshot(directory: Path, repository: Repository) -> ModelPlace | None:
    return cached(directory, repository.name, repository.revision)


def _lacks(directory: Path, repository: Repository) -> str:
    snapshot = _snapshot(directory, repository)
    if snapshot is None:
        return f"{repository.name} is not in {directory}"
    for name in sorted(snapshot.all_files()):
        if not snapshot.has(name):
            return f"{shown(snapshot.directory / name)} is a link to nothing"
    if not _any(snapshot, TOKENIZERS):
        return f"{repository.name} has no tokenizer in {directory}"
    return _lacks_of_weights(snapshot, repository) if repository.weights else ""


def _lacks_of_weights(snapshot: ModelPlace, repository: Repository) -> str:
    if not snapshot.has("config.json") and not snapshot.has(MISTRAL):
        return f"{repository.name} has no config.json in {snapshot.directory}"
    shards = next((_shards(snapshot, name) for name in INDEXES if snapshot.has(name)), ())
    own = _any(snapshot, ("consolidated*.safetensors",))
    missing = [name for name in shards if not snapshot.has(name)]
    if missing and not own:
        first = f"({shown(missing[0])} first)"
        return f"{len(missing)} of {len(shards)} files of weights are missing {first}"
    if not shards and not _any(snapshot, WEIGHTS):
        return f"{repository.name} has no weights in {snapshot.directory}"
    return ""


def _shards(snapshot: ModelPlace, index: str) -> tuple[str, ...]:
    try:
        return files_of_index(snapshot.read(index))
    except ValueError:
        return ()


def _any(snapshot: ModelPlace, patterns: Sequence[str]) -> bool:
    return any(name not in NO_WEIGHTS for name in snapshot.names(*patterns))


def _is_sure(directory: Path, repository: Repository) -> bool:
    snapshot = _snapshot(directory, repository)
    return snapshot is not None and not snapshot.has(MISTRAL)
