# SPDX-License-Identifier: Apache-2.0
"""Processes that outlived their run in the unit's own control group: killed, and nothing else is.

systemd kills them itself unless a drop-in says otherwise (KillMode=) or they cannot die: a process
in an uninterruptible call of the driver (state D) outlives SIGKILL until the call returns.
"""

from __future__ import annotations

from dataclasses import replace

from agent.core.judges.holders.processes import holders, known
from agent.core.judges.turn import Turn
from agent.core.state.actions import Reap
from agent.core.state.phases import Phase
from agent.core.state.service import ServiceState
from agent.core.state.unit import Leftover

KILL_AGAIN_SECONDS = 10.0

CANNOT_DIE_SECONDS = 60.0
"""What outlives SIGKILL for this long hangs in the kernel."""


def blocking_leftovers(turn: Turn, s: ServiceState) -> str:
    """Return why what is left of the last run keeps the next one from starting, "" when it may.

    Beside one that cannot die a start is tried at the longest back-off, unless NVML shows that it
    still has memory of the service's cards.
    """
    unit = s.live.unit
    if unit is None or not unit.down or not unit.leftovers:
        return ""
    if not s.live.undead:
        return f"waits until {_named(unit.leftovers)}, left in {s.name}.service, is gone"
    longest = turn.policy_of(s).recovery.backoff_max_seconds
    patient = turn.at - s.live.reap_since >= CANNOT_DIE_SECONDS + longest
    return "" if patient and not _has_gpu_memory(turn, s, unit.leftovers) else _undead(s)


def _has_gpu_memory(turn: Turn, s: ServiceState, leftovers: tuple[Leftover, ...]) -> bool:
    if known(turn.gpus) is None:
        return False
    on_cards = {holder.pid for holder in holders(turn.gpus, turn.policy_of(s).settings)}
    return any(process.pid in on_cards for process in leftovers)


def reap(turn: Turn) -> None:
    """Kill what is left of a service that is to start; at the longest back-off once it is vain."""
    for s in tuple(turn.services.values()):
        mine = s.name in turn.policy.services and not s.foreign
        if mine and s.phase is Phase.WAITING and turn.pause_of(s) is None:
            turn.put(_reap(turn, s))


def _reap(turn: Turn, s: ServiceState) -> ServiceState:
    unit, live = s.live.unit, s.live
    if unit is None or not unit.down:
        return s
    if not unit.leftovers:
        return _clean(turn, s) if live.reap_since else s
    if s.asked is not None or unit.pending_restart:
        return s
    if not live.reap_since:
        what = f"{_named(unit.leftovers)} was left in {s.name}.service: SIGKILL"
        turn.tell(s.name, "reap", what, pids=[process.pid for process in unit.leftovers])
        live = replace(live, reap_since=turn.at)
    elif not live.undead and turn.at - live.reap_since >= CANNOT_DIE_SECONDS:
        live = replace(live, undead=True)
        s = replace(s, live=live)
        turn.tell(s.name, "undead", _undead(s), pids=[process.pid for process in unit.leftovers])
    longest = turn.policy_of(s).recovery.backoff_max_seconds
    pause = max(longest, KILL_AGAIN_SECONDS) if live.undead else KILL_AGAIN_SECONDS
    if not live.reap_at or turn.at - live.reap_at >= pause:
        turn.do(Reap(s.name))
        live = replace(live, reap_at=turn.at)
    return replace(s, live=live)


def _clean(turn: Turn, s: ServiceState) -> ServiceState:
    turn.tell(s.name, "reaped", f"nothing is left in {s.name}.service any more")
    return replace(s, live=replace(s.live, reap_since=0.0, reap_at=0.0, undead=False))


def _undead(s: ServiceState) -> str:
    assert s.live.unit is not None
    return (
        f"{_named(s.live.unit.leftovers)} of the previous run outlives SIGKILL: it hangs in the"
        " kernel, and only a reset of the GPU or a reboot of the host ends it"
    )


def _named(leftovers: tuple[Leftover, ...]) -> str:
    first = leftovers[0]
    name = f"process {first.pid}" + (f" ({first.command})" if first.command else "")
    return name if len(leftovers) == 1 else f"{name} and {len(leftovers) - 1} more"
