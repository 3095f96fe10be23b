# SPDX-License-Identifier: Apache-2.0
"""Finds and reads profiles: the package's, and the operator's own, which win by name."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agent.core.settings.profile import Profile, ProfileError, profile_of
from agent.errors import UsageError
from agent.places import OWN_PROFILES, SHIPPED_PROFILES


def read_profiles(
    directories: Sequence[Path] = (SHIPPED_PROFILES, OWN_PROFILES),
) -> Mapping[str, Profile]:
    """Return all profiles by name; one of a later directory takes the place of an earlier one.

    Raises UsageError for a file that is no profile; a directory that is not there holds none.
    """
    found: dict[str, Profile] = {}
    for directory in directories:
        for file in sorted(directory.glob("*.toml")):
            found[file.stem] = _read(file)
    return dict(sorted(found.items()))


def write_profile(directory: Path, name: str, table: Mapping[str, Any]) -> Path:
    """Write an own profile and return its file; raises UsageError when that cannot be done."""
    # Imported here: the daemon only reads profiles, and this loads decimal.
    import tomli_w

    file = directory / f"{name}.toml"
    profile_of(name, table)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        beside = file.with_suffix(".new")
        beside.write_text(tomli_w.dumps(dict(table)))
        beside.replace(file)
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror or error}") from error
    return file


def _read(file: Path) -> Profile:
    try:
        return profile_of(file.stem, tomllib.loads(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror or error}") from error
    except (ValueError, RecursionError, ProfileError) as error:
        raise UsageError(f"{file}: {error}; correct it, or take it away") from error
