# SPDX-License-Identifier: Apache-2.0
"""Switches that turn one kernel or feature of the engine off: an environment variable or a flag.

A switch is a text: "NAME=VALUE" for the environment, "--flag" or "--flag VALUE" for the command
line. "--attention-backend" alone, which needs a value, only names what a person may choose.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*=\S+")
_FLAG = re.compile(r"--[a-z][a-z0-9-]*(?: \S+)?")
NEEDS_A_VALUE = frozenset({"--attention-backend", "--moe-backend", "--speculative-config"})
A_SETTING = frozenset({"--enforce-eager"})
"""Flags that have a setting of their own in agent.toml, with a limit of its own."""


def is_switch(name: str) -> bool:
    """Tell whether a learned name is a switch, and no setting of agent.toml."""
    return _VARIABLE.fullmatch(name) is not None or _FLAG.fullmatch(name) is not None


def can_be_taken(switch: str) -> bool:
    """Tell whether the switch is whole, so that nobody needs to choose anything."""
    return is_switch(switch) and switch not in NEEDS_A_VALUE | A_SETTING


def is_set(switch: str, environment: Mapping[str, str], arguments: Sequence[str]) -> bool:
    """Tell whether the variable or flag is there already, with whatever value."""
    if not switch.startswith("--"):
        return switch.partition("=")[0] in environment
    flag = switch.partition(" ")[0]
    return any(word == flag or word.startswith(f"{flag}=") for word in arguments)


def with_switches(
    switches: Sequence[str], environment: Mapping[str, str], arguments: Sequence[str]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the environment and the arguments with the switches in them."""
    variables, words = dict(environment), list(arguments)
    for switch in switches:
        if switch.startswith("--"):
            words += switch.split(" ")
        else:
            name, _, value = switch.partition("=")
            variables[name] = value
    return variables, tuple(words)
