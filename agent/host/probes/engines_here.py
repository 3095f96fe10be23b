# SPDX-License-Identifier: Apache-2.0
"""Virtual environments with vLLM, where people put them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

PLACES = (
    *("opt/*", "opt/*/*", "srv/*", "srv/*/*", "usr/local", "usr"),
    *("home/*/*", "home/*/*/*", "root/*", "root/*/*", "var/lib/*/*", "data/*", "mnt/*/*"),
)
"""Below the root, two levels deep: a search of whole disks would take minutes."""

_VLLM = "lib/python3*/*-packages/vllm*.dist-info"


def pythons_with_vllm(root: Path = Path("/")) -> tuple[str, ...]:
    """Return the interpreters of environments that hold vLLM, each once."""
    return tuple(dict.fromkeys(_pythons(root)))


def _pythons(root: Path) -> Iterator[str]:
    for pattern in PLACES:
        for place in _directories(root, pattern):
            python = place / "bin/python"
            if _holds(place) and python.exists():
                yield str(python)


def _directories(root: Path, pattern: str) -> list[Path]:
    try:
        # A dot before the name is a place of many: ~/.venv.
        return sorted(place for place in root.glob(pattern) if place.is_dir())
    except OSError:
        return []


def _holds(place: Path) -> bool:
    try:
        return next(place.glob(_VLLM), None) is not None
    except OSError:
        return False
