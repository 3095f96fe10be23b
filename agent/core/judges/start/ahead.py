# SPDX-License-Identifier: Apache-2.0
"""Ahead of a start: what it reads is listed while the service serves, and read when one is near.

Near is a restart that is planned, and the boot of the host: there the unit llmagent-ahead.service
reads as soon as disks are mounted, while the host still waits for its network and its driver; the
agent only hears what came of it. Nothing is read while an engine loads, which wants disk and
memory for itself: each start ends the reading, and what systemd or a person has started does too.
"""

from __future__ import annotations

from dataclasses import replace

from agent.core.judges.turn import Turn
from agent.core.measures import GIB, MINUTE_SECONDS
from agent.core.settings.service import ServicePolicy
from agent.core.state.actions import EndReading, ForgetFiles, ListFiles, ReadAhead
from agent.core.state.phases import Phase
from agent.core.state.service import ServiceState
from agent.core.state.start.ahead import NOTHING_LISTED, Ahead, AheadSeen, FilesRead

LEAD_SECONDS = 5 * MINUTE_SECONDS
"""So long before a planned restart: read earlier, something else may push it out again."""


def hear(turn: Turn, *, rebooted: bool) -> None:
    """Hear what was read while the host came up, or was being read when the last agent ended."""
    for s in tuple(turn.services.values()):
        if s.ahead.reading_since or (rebooted and s.ahead.files):
            turn.do(ReadAhead(s.name, begun=True))
            turn.put(_with(s, replace(s.ahead, reading_since=turn.at)))


def go_on(turn: Turn) -> None:
    """Take the next step of every service: list, read, end the reading, forget."""
    loads = any(s.phase is Phase.STARTING for s in turn.services.values())
    for s in tuple(turn.services.values()):
        if s.name not in turn.policy.services or s.foreign:
            continue
        if not _wanted(turn.policy_of(s)):
            if s.ahead.files:
                turn.do(ForgetFiles(s.name))
                turn.put(_with(s, NOTHING_LISTED))
        elif s.ahead.reading_since:
            if loads:
                turn.do(EndReading(s.name))
                turn.put(_with(s, replace(s.ahead, reading_since=0.0)))
        elif s.phase is Phase.SERVING and turn.pause_of(s) is None:
            # One reading at a time: two would only take turns at the same disk.
            busy = loads or any(other.ahead.reading_since for other in turn.services.values())
            turn.put(_while_it_serves(turn, s, busy=busy))


def _wanted(policy: ServicePolicy) -> bool:
    """Tell whether it is asked for; what a container reads lies in its image, unseen from here."""
    return policy.recovery.read_ahead and not policy.settings.engine.in_container


def _while_it_serves(turn: Turn, s: ServiceState, *, busy: bool) -> ServiceState:
    ahead, plan = s.ahead, s.planned_restart
    if s.settled and ahead.taken_for != s.invocation_id and s.running is not None:
        turn.do(ListFiles(s.name, s.invocation_id, s.running, turn.policy.engines[s.name]))
        return _with(s, replace(ahead, taken_for=s.invocation_id))
    near = plan is not None and plan.not_before - turn.at <= LEAD_SECONDS
    if plan is None or not near or busy or not ahead.files or ahead.read_for == plan.not_before:
        return s
    turn.do(ReadAhead(s.name))
    return _with(s, replace(ahead, read_for=plan.not_before, reading_since=turn.at))


def on_seen(turn: Turn, s: ServiceState, seen: AheadSeen) -> ServiceState:
    """Remember what was listed, or tell what was read."""
    if seen.read is not None:
        turn.tell(s.name, "ahead", _sentence(seen.read), **_data(seen.read))
        ahead = replace(s.ahead, read=seen.read, read_at=turn.at, reading_since=0.0)
        return _with(s, ahead)
    if seen.problem:
        turn.tell(s.name, "ahead", f"nothing is read ahead of a start: {seen.problem}")
        return _with(s, replace(s.ahead, reading_since=0.0))
    if not seen.invocation_id:  # ended before its turn came, or there was nothing to read
        return _with(s, replace(s.ahead, reading_since=0.0))
    if seen.invocation_id != s.ahead.taken_for:
        return s  # a later run is listed
    return _with(s, replace(s.ahead, files=seen.files, size_bytes=seen.size_bytes))


def _with(s: ServiceState, ahead: Ahead) -> ServiceState:
    return replace(s, ahead=ahead)


def _sentence(read: FilesRead) -> str:
    size = f"{read.size_bytes / GIB:.2f} GiB in {read.files} files, which a start reads"
    said = f"{size}: {read.resident_share:.0%} were in memory"
    if not read.stopped and read.resident_bytes + read.read_bytes >= read.size_bytes:
        return f"{said}, the rest was read ahead"
    why = f" ({read.stopped})" if read.stopped else ""
    return f"{said}, {read.read_bytes / GIB:.2f} GiB were read ahead{why}"


def _data(read: FilesRead) -> dict[str, object]:
    return {
        "files": read.files,
        "bytes": read.size_bytes,
        "resident_ratio": round(read.resident_share, 4),
        "read_bytes": read.read_bytes,
        "stopped": read.stopped,
    }
