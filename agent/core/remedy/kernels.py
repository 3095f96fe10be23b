# SPDX-License-Identifier: Apache-2.0
"""Turns a failing kernel off, where the log's own line is known to have a switch for that."""

from __future__ import annotations

from agent.core.remedy.case import Case, Change
from agent.core.settings.switches import can_be_taken, is_set


def next_switch(case: Case) -> Change | None:
    """Return the first switch that is not set yet; None where recovery may take none.

    What the operator has set stays as it is, whatever its value. The change's setting is the
    switch itself, its value True.
    """
    if not case.recovery.allow_switches:
        return None
    running = case.running
    for switch in case.switches:
        if can_be_taken(switch) and not is_set(switch, running.environment, running.extra_args):
            return Change(switch, True, f"{switch} turns off what failed")
    return None
