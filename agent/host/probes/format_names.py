# SPDX-License-Identifier: Apache-2.0
"""The names that an installed vLLM takes for an option, read in its files; nothing is run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

_FILES: Mapping[str, tuple[str, tuple[str, ...]]] = MappingProxyType(
    {
        "quantization": (
            "QuantizationMethods",
            ("model_executor/layers/quantization/__init__.py",),
        ),
        "kv_cache_dtype": ("CacheDType", ("config/cache.py", "config.py", "config/__init__.py")),
    }
)
"""By setting: the name of the type, and the files of the package that may define it (0.8..0.33)."""

_MOST_BYTES = 1 << 20
_VARIABLE = re.compile(r"[\"'](VLLM_[A-Z0-9_]+)[\"']")
FEWEST_VARIABLES = 40
"""A file with fewer is not the whole (0.6 names 54, 0.33 306)."""


def choices_of(places: Sequence[str], setting: str) -> frozenset[str]:
    """Return the names that the vLLM in one of these directories takes; empty where not known."""
    name, files = _FILES[setting]
    literal = re.compile(rf"^{name}\s*=\s*Literal\[(.*?)\]", re.MULTILINE | re.DOTALL)
    for place in places:
        for file in files:
            found = literal.search(_text(Path(place) / "vllm" / file))
            if found is not None:
                return frozenset(re.findall(r"""["']([\w.-]+)["']""", found[1]))
    return frozenset()


def variables_of(places: Sequence[str]) -> frozenset[str]:
    """Return the variables VLLM_... that the vLLM in one of these directories reads, from envs.py.

    Empty where that is not known.
    """
    for place in places:
        found = frozenset(_VARIABLE.findall(_text(Path(place) / "vllm/envs.py")))
        if len(found) >= FEWEST_VARIABLES:
            return found
    return frozenset()


def _text(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return stream.read(_MOST_BYTES).decode(errors="replace")
    except OSError:
        return ""
