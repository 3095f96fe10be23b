# SPDX-License-Identifier: Apache-2.0
"""agent.toml and the installed engines -> the policy that decide works with."""

from __future__ import annotations

from agent.core.settings import Config
from agent.core.state import HostPolicy
from agent.host.engine_help import cache_directory, known_flags
from agent.host.engine_install import inspect


def policy_of(config: Config) -> HostPolicy:
    """Return the policy; each engine is looked up by its files, none of them is run."""
    engines = {}
    for name, policy in config.services.items():
        install = inspect(policy.settings.python)
        engines[name] = install.engine(known_flags(install, cache_directory()))
    return HostPolicy(config.services, engines, config.power, config.thermal)
