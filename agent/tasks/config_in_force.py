# SPDX-License-Identifier: Apache-2.0
"""The configuration that the daemon runs with: agent.toml, or the last good one in its place."""

from __future__ import annotations

import json
from pathlib import Path

from agent.config import agent_toml
from agent.core.record import dataclass
from agent.core.settings.changes import changes, restarted
from agent.core.settings.config import Config
from agent.errors import ConfigError
from agent.host.store.file import StoreError
from agent.host.store.keys import LAST_GOOD_CONFIG
from agent.host.store.store import Store
from agent.places import STORE_FILE


def config_in_force(file: Path, state: Path = STORE_FILE) -> tuple[Config, ConfigError | None]:
    """Return the configuration in force, and what is wrong with `file` where it is not that one.

    Raises ConfigError when the file has a mistake and no good one is remembered (or readable: the
    store is root's).
    """
    try:
        return agent_toml.load(file), None
    except ConfigError as error:
        known = _remembered(state)
        if known is None:
            raise
        return agent_toml.parse(known, f"the last good {file.name}"), error


@dataclass(frozen=True, slots=True)
class OnReload:
    """What a reload would change: a sentence for each, and the units that are restarted for it."""

    changes: tuple[str, ...] = ()
    restarts: tuple[str, ...] = ()


def changes_on_reload(new: Config, state: Path = STORE_FILE) -> OnReload:
    """Return what a reload would change.

    Nothing where no configuration is remembered, or where only root could read it.
    """
    known = _remembered(state)
    if known is None:
        return OnReload()
    try:
        old = agent_toml.parse(known, "the last good one")
    except ConfigError:
        # A release of before took what this one refuses.
        return OnReload()
    return OnReload(changes(old, new), restarted(old, new))


def _remembered(state: Path) -> str | None:
    try:
        with Store.read_only(state) as store:
            text = store.load_state().get(LAST_GOOD_CONFIG)
        return None if text is None else str(json.loads(text))
    except (StoreError, ValueError):
        return None
