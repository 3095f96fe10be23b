# SPDX-License-Identifier: Apache-2.0
"""What a model's files say of its size: safetensors headers or their index, never the tensors.

Layout of safetensors 0.3..0.6: eight bytes of header length, little-endian, then JSON with dtype,
shape and offsets of every tensor.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.errors import UsageError

GIB = 1024**3
LONGEST_HEADER = 100 << 20
_NOT_LOADED = ("consolidated", "original/")
_LAYER = re.compile(r"(?:^|[^a-z_]|language_)model\.layers\.(\d+)\.")


def read_config(path: Path) -> Mapping[str, Any]:
    """Return a config.json; raises UsageError when it is not one."""
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(
            f"{path}: {error.strerror or error}; name a model's config.json"
        ) from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: is not JSON ({error}); name a model's config.json") from error
    if not isinstance(document, dict):
        raise UsageError(f"{path}: is not a JSON object; name a model's config.json")
    return document


def weights_gib(path: Path) -> float | None:
    """Return the GiB of a model's tensors by its index or its files; None when there are none.

    Only what vLLM loads is counted: no layers for speculation, no head that is the embedding.
    A .gguf file counts whole. Raises UsageError when a file that the index names is missing or a
    header is broken.
    """
    if path.suffix == ".gguf":
        return path.stat().st_size / GIB
    index = path / "model.safetensors.index.json"
    if index.is_file():
        named = read_config(index).get("weight_map")
        names = sorted(map(str, set(named.values()))) if isinstance(named, dict) else []
        missing = [name for name in names if not (path / name).exists()]
        if missing:
            raise UsageError(
                f"{path}: {len(missing)} of {len(names)} files of the index are missing, "
                f"{missing[0]} first; download the model again"
            )
        files = [path / name for name in names]
    else:
        files = [
            file
            for file in sorted(path.glob("*.safetensors"))
            if not file.name.startswith(_NOT_LOADED)
        ]
    if not files:
        binaries = [file.stat().st_size for file in path.glob("pytorch_model*.bin")]
        binaries = binaries or [file.stat().st_size for file in path.glob("*.gguf")][:1]
        return sum(binaries) / GIB if binaries else None
    config = read_config(path / "config.json") if (path / "config.json").is_file() else {}
    return sum(_loaded_bytes(file, config) for file in files) / GIB


def _loaded_bytes(file: Path, config: Mapping[str, Any]) -> float:
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(length)) if length <= LONGEST_HEADER else {}
            size = file.stat().st_size
        tensors = {name: tensor for name, tensor in header.items() if name != "__metadata__"}
        spans = {name: tensor["data_offsets"] for name, tensor in tensors.items()}
        end = int(max(span[1] for span in spans.values()))
        loaded = sum(
            (int(last) - int(first)) * _kept(name, str(tensors[name].get("dtype")), config)
            for name, (first, last) in spans.items()
        )
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise UsageError(f"{file}: its safetensors header is broken; download it again") from error
    if size < 8 + length + end:
        promised = 8 + length + end
        raise UsageError(f"{file}: {size} bytes of {promised} are there; download it again")
    return loaded


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
