# SPDX-License-Identifier: Apache-2.0
"""What the engine compiles with at run time, read from files: nothing is imported or run."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from agent.core.doctor.engine import Toolchain
from agent.host.files.foreign import entries

UNIT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CUDA_NVCC = ("/usr/local/cuda/bin/nvcc", "/usr/lib/nvidia-cuda-toolkit/bin/nvcc")
_CUDA = re.compile(r"^cuda(?:: [^=]+)? = '([\d.]{1,40})'", re.M)
_SITE = re.compile(r"python(\d{1,4})\.(\d{1,4})$")


def torch_cuda(read_paths: Iterable[str]) -> str | None:
    """Return the CUDA release that the engine's torch was built for; None for a build without."""
    for place in read_paths:
        try:
            text = (Path(place) / "torch/version.py").read_text(errors="replace")
        except OSError:
            continue
        found = _CUDA.search(text)
        return found.group(1) if found else None
    return None


def python_version(read_paths: Iterable[str]) -> tuple[int, int] | None:
    """Return the version of the engine's Python by the name of its package directory."""
    for place in read_paths:
        found = _SITE.search(str(Path(place).parent))
        if found:
            return int(found[1]), int(found[2])
    return None


def toolchain(python: str, read_paths: tuple[str, ...], path: str = "") -> Toolchain:
    """Look for compiler, headers and nvcc as the unit finds them; `path` is its own PATH."""
    search = f"{Path(python).parent}:{path or UNIT_PATH}"
    compiler = next(
        (c for name in ("gcc", "clang", "cc") if (c := shutil.which(name, path=search))), ""
    )
    nvcc = shutil.which("nvcc", path=search) or next(
        (file for file in CUDA_NVCC if path and Path(file).exists()), ""
    )
    names = {
        entry.name.partition("-")[0]
        for place in read_paths
        for entry in _entries(Path(place))
        if entry.name.startswith("flashinfer")
    }
    return Toolchain(
        compiler=compiler or "",
        python_header=_header(read_paths),
        nvcc=nvcc,
        flashinfer=bool(names & {"flashinfer", "flashinfer_python"}),
        precompiled=bool(names & {"flashinfer_jit_cache", "flashinfer_cubin"}),
    )


def _entries(place: Path) -> list[Path]:
    try:
        return (
            [Path(entry.path) for entry in entries(place)]
            if place.name.endswith("-packages")
            else []
        )
    except OSError:
        return []


def _header(read_paths: tuple[str, ...]) -> str:
    version = python_version(read_paths)
    if version is None:
        return ""
    name = f"python{version[0]}.{version[1]}"
    roots = dict.fromkeys((*read_paths, "/usr", "/usr/local"))
    for root in roots:
        header = Path(root) / "include" / name / "Python.h"
        if header.is_file():
            return str(header)
    return ""
