# SPDX-License-Identifier: Apache-2.0
"""Who has the port that a service needs.

A process of our own last run in the unit's control group is killed as a leftover; a stranger is
only named.
"""

from __future__ import annotations

from dataclasses import replace

from agent.core.failures.classes import FailureClass
from agent.core.judges.turn import Turn
from agent.core.state.actions import LookAtPort
from agent.core.state.phases import Phase
from agent.core.state.process import PortSeen
from agent.core.state.service import ServiceState


def ask_who_listens(turn: Turn, s: ServiceState) -> None:
    """Ask for the holder of the port when the log of the run that just ended says it is taken."""
    failure = s.failure
    if failure is None or failure.at != turn.at or failure.failure is not FailureClass.PORT_IN_USE:
        return
    settings = s.running or turn.policy_of(s).settings
    turn.do(LookAtPort(s.name, settings.port))


def on_port(turn: Turn, s: ServiceState, seen: PortSeen) -> ServiceState:
    """Name who listens, in the history and, while the service waits, in its reason."""
    holder = seen.holder
    if holder is None or s.failure is None or s.failure.failure is not FailureClass.PORT_IN_USE:
        return s
    who = f"process {holder.pid} ({holder.name})" if holder.pid else holder.name
    who += f" of {holder.unit}" if holder.unit else ""
    sentence = f"{who} listens on port {seen.port}"
    if holder.unit != f"{s.name}.service":
        sentence += f": stop it, or change service.{s.name}.port"
    turn.tell(s.name, "port", sentence, pid=holder.pid, command=holder.name, unit=holder.unit)
    return replace(s, reason=f"{s.reason}; {sentence}") if s.phase is Phase.WAITING else s
