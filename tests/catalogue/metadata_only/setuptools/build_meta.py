# SPDX-License-Identifier: Apache-2.0
"""A build backend that builds nothing: it gives the metadata that the sdist already holds.

`pip download` of an sdist asks its build backend for metadata. vLLM's would need torch and run
vLLM's own setup.py; with this one nothing of the sdist is run.
"""

from __future__ import annotations

from pathlib import Path


def get_requires_for_build_wheel(config_settings: object = None) -> list[str]:
    """Return what a build needs: nothing."""
    return []


def prepare_metadata_for_build_wheel(directory: str, config_settings: object = None) -> str:
    """Write the sdist's PKG-INFO as a wheel's METADATA; returns the name of its folder."""
    text = Path("PKG-INFO").read_text(encoding="utf-8")
    said = dict(line.split(": ", 1) for line in text.split("\n\n")[0].splitlines() if ": " in line)
    info = Path(directory) / f"{said['Name'].replace('-', '_')}-{said['Version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(text, encoding="utf-8")
    (info / "WHEEL").write_text("Wheel-Version: 1.0\n", encoding="utf-8")
    return info.name
