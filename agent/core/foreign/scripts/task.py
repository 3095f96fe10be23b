# SPDX-License-Identifier: Apache-2.0
"""YAML files whose key is a shell script: tasks of SkyPilot (`run`) and of dstack (`commands`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.core.foreign.shapes import rows, table

_VARIABLES = ("envs", "env", "secrets")


def script_of_task(content: Mapping[str, Any]) -> tuple[str, Mapping[str, str]] | None:
    """Return the script and the variables that are set for it; None where the file has none."""
    commands = [line for line in rows(content.get("commands")) if isinstance(line, str)]
    run = content.get("run")
    script = run if isinstance(run, str) else "\n".join(commands)
    if not script.strip():
        return None
    known: dict[str, str] = {}
    for key in _VARIABLES:
        given = content.get(key)
        known |= {
            str(name): str(value) for name, value in table(given).items() if value is not None
        }
        pairs = (str(row).partition("=") for row in rows(given))
        known |= {name: value for name, equals, value in pairs if equals}
    return script, known
