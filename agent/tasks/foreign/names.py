# SPDX-License-Identifier: Apache-2.0
"""Names for services that are taken in, and where the model's files of the old engine lie."""

from __future__ import annotations

import contextlib
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path

from agent.config.service import is_free_name
from agent.core.foreign.found import Found
from agent.core.foreign.table import Imported, service_name
from agent.core.settings.engine import EngineSettings, Runtime
from agent.core.settings.service import Settings
from agent.core.unit.environment import state_directory
from agent.host.probes.process import home_of


def names_in(file: Path) -> frozenset[str]:
    """Return the services that agent.toml has, none where it cannot be read."""
    return frozenset(_services(file))


def ports_in(file: Path) -> frozenset[int]:
    """Return the ports that its services have."""
    tables = [table for table in _services(file).values() if isinstance(table, dict)]
    return frozenset(port for t in tables if isinstance(port := t.get("port", 8000), int))


def _services(file: Path) -> Mapping[str, object]:
    with contextlib.suppress(OSError, ValueError, RecursionError):
        services = tomllib.loads(file.read_text()).get("service", {})
        return services if isinstance(services, dict) else {}
    return {}


def name_for(found: Found, taken: Collection[str]) -> str:
    """Return a name for the service of this engine: its own, "vllm" before it, or a number behind.

    A name that agent.toml has already is kept: whoever imports twice is told so.
    """
    name = service_name(found.name)
    if not is_free_name(name):
        name = f"vllm-{name}"
    base, number = name, 2
    while name in taken:
        name, number = f"{base}-{number}", number + 1
    return name


def say_where_models_lie(taken: Imported, found: Found) -> None:
    """Name the hub's cache of the old engine where the service would fetch the model anew."""
    model = taken.table.get("model")
    if not isinstance(model, str) or model.startswith("/"):
        return
    given = taken.table.get("environment", {})
    if "HF_HOME" in given or "HF_HUB_CACHE" in given:
        return
    old = (
        Path(home_of(found.user)) / ".cache/huggingface/hub" / f"models--{model.replace('/', '--')}"
    )
    box = taken.table.get("engine", {}).get("runtime", Runtime.VENV)
    whose = Settings(
        taken.name,
        model,
        user=str(taken.table.get("user", "vllm")),
        engine=EngineSettings(runtime=Runtime(box)),
    )
    new = Path("/var/lib") / state_directory(whose) / "huggingface/hub"
    with contextlib.suppress(OSError):
        if old.is_dir() and not (new / old.name).exists():
            owner = whose.user if box == Runtime.VENV else "root"
            copy = f"install -d -o {owner} {new}; cp -a {old} {new}/; chown -R {owner}: {new}"
            taken.leave(f"the model's files in {old}", f"they are fetched anew, or first: {copy}")
