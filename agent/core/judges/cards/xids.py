# SPDX-License-Identifier: Apache-2.0
"""What an Xid leads to: it is counted, joined to the service that used the card, and acted on.

The bucket of a code is NVIDIA's (see failures.xids); a code that comes again asks for more.
A service that lives shows it with one token before anything is done to it; a death is recovery's,
which takes the Xid as its class.
"""

from __future__ import annotations

from dataclasses import replace

from agent.core.failures.classes import Kind
from agent.core.failures.meaning import kind_of
from agent.core.failures.xids import XidAction, of_xid, xid_action
from agent.core.gpu.xid_lines import pci_key
from agent.core.judges.cards import ailments
from agent.core.judges.cards.fitness import cards_of
from agent.core.judges.cards.sentences import named, tell
from agent.core.judges.turn import AGENT, Turn
from agent.core.measures import DAY_SECONDS, HOUR_SECONDS
from agent.core.state.actions import Canary
from agent.core.state.card import Card, Cure, XidRecord
from agent.core.state.observations import XidSeen
from agent.core.state.phases import RUNS, Phase
from agent.core.state.service import ServiceState

STORM_SECONDS = 10.0
"""One fault prints dozens of lines: within this time they are one incident."""

STALE_SECONDS = 600.0
"""What was logged longer ago is counted; its time to act has passed."""

REPLAY_SECONDS = 60.0
"""How far the kernel log has been read is marked every 30 s."""

SAME_SECONDS = 0.001

OWN_STOP_SECONDS = 30.0
"""A process that is stopped leaves an Xid 45 behind."""

DEATH_SECONDS = 30.0
"""How far apart an Xid and a death may be to be one thing."""

HAS_PROCESSES = RUNS | {Phase.EXAMINING, Phase.STOPPING}

KEPT_SECONDS = 7 * DAY_SECONDS
KEPT_INCIDENTS = 20

AGAIN: dict[int, tuple[int, float, Cure]] = {
    13: (3, DAY_SECONDS, Cure.HARDWARE),
    31: (5, DAY_SECONDS, Cure.HARDWARE),
    32: (3, DAY_SECONDS, Cure.HARDWARE),
    74: (2, DAY_SECONDS, Cure.HARDWARE),
    79: (2, KEPT_SECONDS, Cure.HARDWARE),
    80: (3, DAY_SECONDS, Cure.HARDWARE),
    94: (3, DAY_SECONDS, Cure.RESET),
    109: (2, DAY_SECONDS, Cure.RESET),
}
"""So many incidents of a code on one card within so many seconds ask for this."""

CURES = {
    XidAction.RESET: Cure.RESET,
    XidAction.REBOOT: Cure.REBOOT,
    XidAction.HOLD: Cure.HARDWARE,
}


def on_xid(turn: Turn, seen: XidSeen) -> None:
    """Take in one line of the driver's: count it, and act where it begins an incident."""
    card = next((c for c in turn.cards.values() if pci_key(c.pci_bus_id) == seen.pci_bus_id), None)
    if card is None:
        what = f"Xid {seen.code}{_meaning(seen)} of a GPU that NVML never showed: {seen.text}"
        turn.tell(AGENT, "xid", f"{seen.pci_bus_id}: {what}", xid=seen.code)
        return
    before = card.xids.get(seen.code, XidRecord())
    if _counted_before(turn, seen, before):
        return
    if _told_twice(seen, before):
        if not seen.from_nvml:
            _remember(turn, card, seen, replace(before, unlogged=before.unlogged - 1))
        return
    begins = abs(seen.logged_at - before.last_at) > STORM_SECONDS
    card = _remember(turn, card, seen, _counted(before, seen, is_new=begins))
    if begins and not _of_our_own_stop(turn, card, seen):
        _act(turn, card, seen)


def _remember(turn: Turn, card: Card, seen: XidSeen, record: XidRecord) -> Card:
    card = replace(card, xids={**card.xids, seen.code: record})
    turn.put_card(card)
    return card


def _act(turn: Turn, card: Card, seen: XidSeen) -> None:
    """Tell of a new incident, and do about the card and its services what the code asks for."""
    record = card.xids[seen.code]
    services = _users(turn, card, seen.pid)
    past = seen.earlier_boot or turn.at - seen.logged_at > STALE_SECONDS
    action, cure = (XidAction.NOTE, None) if past else _asks_for(seen, record)
    _tell(turn, card, seen, services, action, record)
    if cure is not None:
        why = f"Xid {seen.code}{_meaning(seen)}{_times(record, seen.code)}"
        turn.put_card(ailments.ail(turn, card, of_xid(seen.code), cure, why, seen=False))
    if action is not XidAction.NOTE:
        for s in services:
            turn.put(_suspect(turn, s, seen))


def _counted_before(turn: Turn, seen: XidSeen, record: XidRecord) -> bool:
    """Tell whether a new agent process reads what the last one had read but not marked as read."""
    young = turn.at - turn.started_at < REPLAY_SECONDS
    return young and seen.logged_at <= record.last_at + SAME_SECONDS


def _told_twice(seen: XidSeen, record: XidRecord) -> bool:
    """Tell whether the kernel log and NVML have told of the same error.

    NVML has fewer of them, so one from there counts only when the log is silent about its code.
    """
    if abs(seen.logged_at - record.last_at) > STORM_SECONDS:
        return False
    return record.unlogged == 0 if seen.from_nvml else record.unlogged > 0


def _counted(record: XidRecord, seen: XidSeen, *, is_new: bool) -> XidRecord:
    incidents, unlogged = record.incidents, record.unlogged
    if is_new:
        unlogged = 0
        kept = [t for t in incidents if t > seen.logged_at - KEPT_SECONDS]
        incidents = (*kept[-KEPT_INCIDENTS + 1 :], seen.logged_at)
    last_at = seen.logged_at if is_new else max(record.last_at, seen.logged_at)
    return XidRecord(record.count + 1, last_at, incidents, unlogged + seen.from_nvml)


def _of_our_own_stop(turn: Turn, card: Card, seen: XidSeen) -> bool:
    if seen.code != 45:
        return False
    others = (r.last_at for code, r in card.xids.items() if code != 45)
    if any(abs(seen.logged_at - at) <= OWN_STOP_SECONDS for at in others):
        return True  # it follows another Xid, which says more
    return any(
        s.phase is Phase.STOPPING
        or (s.asked is not None and s.asked.stop)
        or abs(seen.logged_at - s.last_down_at) <= OWN_STOP_SECONDS
        for s in turn.services.values()
        if any(c.uuid == card.uuid for c in cards_of(turn, s))
    )


def _users(turn: Turn, card: Card, pid: int) -> tuple[ServiceState, ...]:
    """Return the services that the error concerns: whose process it was, else all on the card."""
    unit = _unit_of(turn, card, pid)
    there = tuple(s for s in turn.services.values() if s.phase in HAS_PROCESSES)
    if unit is not None:
        return tuple(s for s in there if f"{s.name}.service" == unit)
    return tuple(s for s in there if any(c.uuid == card.uuid for c in cards_of(turn, s)))


def _unit_of(turn: Turn, card: Card, pid: int) -> str | None:
    """Return the unit of a process that was last seen on the card, None when it was not seen."""
    for s in turn.services.values():
        if pid and s.live.unit is not None and s.live.unit.main_pid == pid:
            return f"{s.name}.service"
    gpus = turn.gpus.gpus if turn.gpus is not None else ()
    processes = next((gpu.processes for gpu in gpus if gpu.uuid == card.uuid), None) or ()
    return next((process.unit for process in processes if pid and process.pid == pid), None)


def _asks_for(seen: XidSeen, record: XidRecord) -> tuple[XidAction, Cure | None]:
    if seen.code == 154 and seen.recovery_action is not None:
        cure = ailments.RECOVERY.get(seen.recovery_action)
        return (XidAction.NOTE if cure is None else XidAction.RESET), cure
    action = xid_action(seen.code)
    most, within, cure = AGAIN.get(seen.code, (0, 0.0, None))
    recent = sum(t > seen.logged_at - within for t in record.incidents)
    if most and recent >= most:
        return action, cure
    return action, CURES.get(action)


def _times(record: XidRecord, code: int) -> str:
    _, within, _ = AGAIN.get(code, (0, DAY_SECONDS, None))
    recent = sum(t > record.last_at - within for t in record.incidents)
    hours = within / HOUR_SECONDS
    return f", {recent} times within {hours:.0f} h" if recent > 1 else ""


def _meaning(seen: XidSeen) -> str:
    return f" ({seen.meaning})" if seen.meaning else ""


SENTENCES = {
    XidAction.NOTE: "noted",
    XidAction.RESTART: "it is restarted unless it still answers",
    XidAction.RESET: "the GPU must be reset",
    XidAction.REBOOT: "the host must be rebooted",
    XidAction.HOLD: "the card must be looked at",
}


def _tell(
    turn: Turn,
    card: Card,
    seen: XidSeen,
    services: tuple[ServiceState, ...],
    action: XidAction,
    record: XidRecord,
) -> None:
    names = ", ".join(f"{s.name}.service" for s in services)
    whose = f" of {names}" if names else ""
    when = " before this boot" if seen.earlier_boot else ""
    what = f"Xid {seen.code}{_meaning(seen)}{when}{whose}: {SENTENCES[action]}"
    tell(
        turn,
        card,
        "xid",
        f"{named(card)}: {what}",
        xid=seen.code,
        name=seen.name,
        action=action.value,
        count=record.count,
        services=[s.name for s in services],
        text=seen.text,
    )


def _suspect(turn: Turn, s: ServiceState, seen: XidSeen) -> ServiceState:
    """Note the error at the service, and have one that serves show that it lives."""
    failure = of_xid(seen.code)
    if blamed(s, seen.logged_at) and s.live.xid and kind_of(s.live.xid) is Kind.HUMAN:
        failure = s.live.xid  # the lesser error follows from the worse
    live = replace(s.live, xid=failure, xid_at=seen.logged_at, suspect=True)
    may_ask = s.phase is Phase.SERVING and s.asked is None and s.name in turn.policy.services
    if not may_ask or s.running is None or live.canary_pending:
        return replace(s, live=live)
    deadline = turn.policy_of(s).recovery.canary_seconds
    turn.do(Canary(s.name, s.invocation_id, s.running, deadline))
    return replace(s, live=replace(live, canary_pending=True, canary_at=turn.at))


def blamed(s: ServiceState, died_at: float) -> bool:
    """Tell whether the last Xid came so near to a death that it is its cause."""
    return s.live.xid is not None and abs(s.live.xid_at - died_at) <= DEATH_SECONDS
