# SPDX-License-Identifier: Apache-2.0
"""What a model's files say of its size: safetensors headers or their index, never the tensors.

Layout of safetensors 0.3..0.6: eight bytes of header length, little-endian, then JSON with dtype,
shape and offsets of every tensor.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.core.measures import GIB
from agent.errors import UsageError
from agent.host.files.foreign import LONGEST, shown
from agent.host.models.json_file import files_of_index, parse, tensors
from agent.host.models.place import ModelPlace, local

CONFIG = "config.json"
INDEX = "model.safetensors.index.json"
_NOT_LOADED = ("consolidated", "original/")
_LAYER = re.compile(r"(?:^|[^a-z_]|language_)model\.layers\.(\d{1,9})\.")


def read_config(path: Path) -> Mapping[str, Any]:
    """Return a config.json; raises UsageError when it is not one."""
    try:
        with path.open("rb") as stream:
            document = parse(stream.read(LONGEST))
    except OSError as error:
        raise UsageError(
            f"{path}: {error.strerror or error}; name a model's config.json"
        ) from error
    except ValueError as error:
        raise UsageError(f"{path}: is not JSON ({error}); name a model's config.json") from error
    if not isinstance(document, dict):
        raise UsageError(f"{path}: is not a JSON object; name a model's config.json")
    return document


def weights_gib(path: Path) -> float | None:
    """Return the GiB of a model's tensors by its index or its files; None when there are none.

    Only what vLLM loads is counted: no layers for speculation, no head that is the embedding.
    A .gguf file counts whole. Raises UsageError when a file that the index names is missing, a
    header is broken, or something cannot be read.
    """
    try:
        return _weights_gib(path)
    except OSError as error:
        where = shown(error.filename or path)
        raise UsageError(f"{where}: {error.strerror or shown(error)}") from error


def _weights_gib(path: Path) -> float | None:
    if path.suffix == ".gguf":
        return path.stat().st_size / GIB
    place = local(str(path))
    if place.has(INDEX):
        names = _named(place)
        missing = [name for name in names if not place.has(name)]
        if missing:
            raise UsageError(
                f"{path}: {len(missing)} of {len(names)} files of the index are missing, "
                f"{shown(missing[0])} first; download the model again"
            )
    else:
        names = [name for name in place.names("*.safetensors") if not name.startswith(_NOT_LOADED)]
    if not names:
        binaries = place.names("pytorch_model*.bin") or place.names("*.gguf")[:1]
        return sum(place.size(name) or 0 for name in binaries) / GIB if binaries else None
    config = _config(place) if place.has(CONFIG) else {}
    return sum(_loaded_bytes(place, name, config) for name in names) / GIB


def _named(place: ModelPlace) -> list[str]:
    try:
        return list(files_of_index(place.read(INDEX)))
    except ValueError as error:
        where = shown(place.directory / INDEX)
        raise UsageError(f"{where}: {error}; download the model again") from error


def _config(place: ModelPlace) -> Mapping[str, Any]:
    try:
        return place.read_object(CONFIG)
    except ValueError as error:
        where = shown(place.directory / CONFIG)
        raise UsageError(f"{where}: is not JSON ({error}); name a model's config.json") from error


def _loaded_bytes(place: ModelPlace, name: str, config: Mapping[str, Any]) -> float:
    where = shown(place.directory / name)
    try:
        header, size = header_of(place, name)
        loaded, end = 0.0, 0
        for tensor in tensors(header):
            loaded += (tensor.end - tensor.begin) * _kept(tensor.name, tensor.dtype, config)
            end = max(end, tensor.end)
    except ValueError as error:
        raise UsageError(f"{where}: its safetensors header is broken; download it again") from error
    promised = 8 + len(header) + end
    if size < promised:
        raise UsageError(f"{where}: {size} bytes of {promised} are there; download it again")
    return loaded


def header_of(place: ModelPlace, name: str) -> tuple[bytes, int]:
    """Return the header of a safetensors file and the file's size; ValueError where it has none."""
    with place.open(name) as stream:
        size = os.fstat(stream.fileno()).st_size
        length = int.from_bytes(stream.read(8), "little")
        if not 2 <= length <= min(LONGEST, size):
            raise ValueError("no header has this length")
        return stream.read(length), size


def _kept(name: str, dtype: str, config: Mapping[str, Any]) -> float:
    """Return the share of a tensor's bytes that vLLM keeps."""
    text = config.get("text_config")
    text = {**config, **text} if isinstance(text, dict) else config
    layers = text.get("num_hidden_layers")
    found = _LAYER.search(name)
    if isinstance(layers, int) and found is not None and int(found[1]) >= layers:
        return 0.0
    if name.startswith("mtp.") or ".mtp." in name:
        return 0.0
    tied = config.get("tie_word_embeddings", text.get("tie_word_embeddings"))
    if tied is True and name == "lm_head.weight":
        return 0.0
    whole = text.get("dtype") or text.get("torch_dtype")
    # vLLM's dtype "auto" loads 32-bit checkpoints in 16 bits.
    return 0.5 if dtype == "F32" and whole == "float32" else 1.0
