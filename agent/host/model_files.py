# SPDX-License-Identifier: Apache-2.0
"""What a model's files say of its size: safetensors headers or their index, never the tensors.

Layout of safetensors 0.3..0.6: eight bytes of header length, little-endian, then JSON with dtype,
shape and offsets of every tensor.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from agent.errors import HostLacksError, UsageError

GIB = 1024**3
LONGEST_HEADER = 100 << 20
_NOT_LOADED = ("consolidated", "original/")


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


def weights_gib(directory: Path) -> float | None:
    """Return the GiB of a model's tensors by its index or its files; None when there are none.

    Raises UsageError when a file that the index names is missing or a header is broken.
    """
    index = directory / "model.safetensors.index.json"
    if index.is_file():
        document = read_config(index)
        names = set((document.get("weight_map") or {}).values())
        missing = sorted(name for name in names if not (directory / str(name)).exists())
        if missing:
            raise UsageError(
                f"{directory}: {len(missing)} of {len(names)} files of the index are missing, "
                f"{missing[0]} first; download the model again"
            )
        files = [directory / str(name) for name in sorted(names)]
    else:
        files = [
            file
            for file in sorted(directory.glob("*.safetensors"))
            if not file.name.startswith(_NOT_LOADED)
        ]
    if not files:
        binaries = [file.stat().st_size for file in directory.glob("pytorch_model*.bin")]
        return sum(binaries) / GIB if binaries else None
    return sum(_tensor_bytes(file) for file in files) / GIB


def _tensor_bytes(file: Path) -> int:
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(length)) if length <= LONGEST_HEADER else {}
            size = file.stat().st_size
        tensors = [tensor for name, tensor in header.items() if name != "__metadata__"]
        end = int(max(tensor["data_offsets"][1] for tensor in tensors))
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise UsageError(f"{file}: its safetensors header is broken; download it again") from error
    if size < 8 + length + end:
        promised = 8 + length + end
        raise UsageError(f"{file}: {size} bytes of {promised} are there; download it again")
    return end


def known_models() -> Mapping[str, Mapping[str, Any]]:
    """Return config.json's numbers of well-known models by their hub names.

    Raises HostLacksError when the package's data cannot be read.
    """
    file = resources.files("agent.models") / "known.toml"
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise HostLacksError(f"{file}: {error}; reinstall the package") from error
    return {name: table for key, table in tables.items() for name in (key, *table.get("also", ()))}
