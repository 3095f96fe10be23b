# SPDX-License-Identifier: Apache-2.0
"""`profile = "NAME"` in [service.X]: the profile's keys stand where the table has none itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.config.values import Mistake, as_toml, nearest
from agent.core.planner.versions import Version, version_of
from agent.core.settings.engine import version_in
from agent.core.settings.profile import Profile
from agent.core.settings.service import Settings
from agent.errors import UsageError
from agent.host.data.profiles import read_profiles
from agent.host.vllm.install import inspect

TABLES = ("expect", "recovery")


def with_profile(
    table: Mapping[str, Any], path: tuple[str, ...], mistakes: list[Mistake]
) -> dict[str, Any]:
    """Return a service's table with its profile's values under its own.

    The version of the installed vLLM chooses among the profile's settings. A profile that cannot
    be had is noted, and the table is returned as it is.
    """
    if "profile" not in table:
        return dict(table)
    profile = _find(table["profile"], (*path, "profile"), mistakes)
    if profile is None:
        return dict(table)
    return filled(table, profile, version_of(_version(table)))


def _version(table: Mapping[str, Any]) -> str | None:
    """Return the version of the vLLM that the table asks for, None when it cannot be known."""
    engine = table.get("engine", {})
    if isinstance(engine, Mapping) and "image" in engine:
        said = engine.get("vllm_version") or version_in(str(engine["image"]))
        return said if isinstance(said, str) else None
    python = table.get("python", Settings("", "").python)
    return inspect(python).version if isinstance(python, str) else None


def filled(table: Mapping[str, Any], profile: Profile, version: Version) -> dict[str, Any]:
    """Return the table with the profile's settings, expectations and limits where it has none.

    A limit of the profile gives way where the table sets the limited setting itself.
    """
    merged = {**profile.settings_for(version.release), **table}
    for key in TABLES:
        own = table.get(key, {})
        if isinstance(own, Mapping):
            theirs = getattr(profile, key)
            kept = {name: theirs[name] for name in theirs if _limited(name) not in table}
            merged[key] = {**kept, **own}
    return merged


def _limited(name: str) -> str | None:
    """Return the setting that a key of recovery limits, None for one that limits none."""
    return name[4:] if name.startswith(("min_", "max_")) else None


def _find(name: object, path: tuple[str, ...], mistakes: list[Mistake]) -> Profile | None:
    try:
        profiles = read_profiles()
    except UsageError as error:
        mistakes.append(Mistake(path, str(error)))
        return None
    if isinstance(name, str) and name in profiles:
        return profiles[name]
    near = nearest(name, profiles) if isinstance(name, str) else None
    hint = f"did you mean {near}?" if near else "`llmagent profiles` lists them"
    mistakes.append(Mistake(path, f"no profile is called {as_toml(name)}; {hint}"))
    return None
