# SPDX-License-Identifier: Apache-2.0
"""The rung that goes back from `start_method = "fork"`, which this engine, card or model refuses.

It is learned as a switch, so that it is kept for this version of vLLM, shown, and forgotten with
the version.
"""

from __future__ import annotations

from agent.core.command.start_method import FORK, SPAWN, VARIABLE
from agent.core.remedy.case import Case, Change

SWITCH = f"{VARIABLE}={SPAWN}"


def spawn_the_processes(case: Case) -> Change | None:
    """Spawn the engine's processes where the key had them forked; what `environment` says stays."""
    if case.running.start_method != FORK or VARIABLE in case.running.environment:
        return None
    return Change(SWITCH, True, "its processes were forked, as start_method asks: spawn them")
