# SPDX-License-Identifier: Apache-2.0
"""How GPUs get into containers on this host: CDI's files, and the hook of NVIDIA's toolkit."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from agent.core.doctor.container import CdiSpec
from agent.host.files.foreign import read_regular
from agent.host.files.yaml_text import yaml_documents

CDI_PLACES = (Path("/etc/cdi"), Path("/run/cdi"))
CDI_KIND = "nvidia.com/gpu"
HOOKS = ("nvidia-container-runtime-hook", "nvidia-container-toolkit")


def cdi_specs(root: Path = Path("/")) -> tuple[CdiSpec, ...]:
    """Return what describes NVIDIA's GPUs to container engines."""
    return tuple(_cdi_specs(root))


def _cdi_specs(root: Path) -> Iterator[CdiSpec]:
    for place in CDI_PLACES:
        for file in sorted((root / place.relative_to("/")).glob("*.*")):
            try:
                text = read_regular(Path(os.path.realpath(file)))
                spec = next(iter(yaml_documents(text)), None)
            except (OSError, ValueError):
                continue
            if isinstance(spec, dict) and spec.get("kind") == CDI_KIND:
                yield _cdi_spec(f"{place}/{file.name}", spec, root)


def _cdi_spec(path: str, spec: Mapping[str, Any], root: Path) -> CdiSpec:
    devices = [device for device in spec.get("devices") or () if isinstance(device, dict)]
    edits = [spec.get("containerEdits") or {}, *(d.get("containerEdits") or {} for d in devices)]
    mounts = [m.get("hostPath") for edit in edits for m in edit.get("mounts") or ()]
    nodes = [n.get("hostPath") or n.get("path") for e in edits for n in e.get("deviceNodes") or ()]
    wanted = [str(file) for file in (*mounts, *nodes) if file]
    gone = (file for file in wanted if not (root / file.lstrip("/")).exists())
    libraries = (file.rpartition("libcuda.so.")[2] for file in wanted if "libcuda.so." in file)
    return CdiSpec(
        path=path,
        devices=tuple(str(device.get("name")) for device in devices),
        driver=next((version for version in libraries if "." in version), ""),
        gone=next(gone, ""),
    )


def gpu_hook() -> str:
    """Return the program by which docker's --gpus works, "" for none."""
    return next((found for name in HOOKS if (found := shutil.which(name))), "")
