# SPDX-License-Identifier: Apache-2.0
"""What an Xid leads to: it is counted, joined to the service that used the card, and acted on.

The bucket of a code is NVIDIA's (see failures.xids); a code that comes again asks for more.
A service that lives shows it with one token before anything is done to it; a death is recovery's,
which takes the Xid as its class. What would hold a service waits until NVML says it too.
"""

from __future__ import annotations

from agent.core.changed import changed
from agent.core.failures.classes import Kind
from agent.core.failures.meaning import kind_of
from agent.core.failures.xids import XidAction, of_xid
from agent.core.gpu.reading import Gpus
from agent.core.gpu.xid_lines import pci_key
from agent.core.judges.cards import ailments, strangers
from agent.core.judges.cards.fitness import cards_of
from agent.core.judges.cards.incidents import (
    STORM_SECONDS,
    counted,
    counted_before,
    told_twice,
)
from agent.core.judges.cards.sentences import named, tell
from agent.core.judges.cards.xid_cures import CURES, RECOVERY_CHANGED, asked_for, times
from agent.core.judges.turn import Turn
from agent.core.state.actions import Canary
from agent.core.state.card import Card, XidRecord
from agent.core.state.observations import XidSeen
from agent.core.state.phases import RUNS, Phase
from agent.core.state.service import ServiceState

OWN_STOP_SECONDS = 30.0
"""A process that is stopped leaves an Xid 45 behind."""

DEATH_SECONDS = 30.0
"""How far apart an Xid and a death may be to be one thing."""

CONFIRM_SECONDS = 15.0
"""NVML's word comes within this: a look each 5 s, and an event waits 2 s for its line."""

HAS_PROCESSES = RUNS | {Phase.EXAMINING, Phase.STOPPING}


def on_xid(turn: Turn, seen: XidSeen) -> None:
    """Take in one line of the driver's: count it, and act where it begins an incident."""
    card = next((c for c in turn.cards.values() if pci_key(c.pci_bus_id) == seen.pci_bus_id), None)
    if card is None:
        what = f"Xid {seen.code}{_meaning(seen)} of a GPU that NVML never showed: {seen.text}"
        strangers.tell(turn, f"{seen.pci_bus_id}: {what}", seen.code)
        return
    if seen.from_nvml and any(w.code == seen.code for w in card.unconfirmed):
        _confirm(turn, card, seen.code)
        return
    before = card.xids.get(seen.code, XidRecord())
    if counted_before(turn, seen, before):
        return
    if told_twice(seen, before):
        if seen.from_nvml:
            _bear_out(turn, card, seen)
        else:
            _remember(turn, card, seen, changed(before, unlogged=before.unlogged - 1))
        return
    begins = abs(seen.logged_at - before.last_at) > STORM_SECONDS
    card = _remember(turn, card, seen, counted(before, seen, is_new=begins))
    if begins and not _of_our_own_stop(turn, card, seen):
        _act(turn, card, seen)


def _remember(turn: Turn, card: Card, seen: XidSeen, record: XidRecord) -> Card:
    card = changed(card, xids={**card.xids, seen.code: record})
    turn.put_card(card)
    return card


def _act(turn: Turn, card: Card, seen: XidSeen) -> None:
    """Do about a new incident what the code asks for, or have it wait for NVML's word."""
    action, cure = asked_for(card, seen, turn.at)
    if action is XidAction.RESTART:
        _suspect_users(turn, card, seen)
    if (cure is None and action not in CURES) or seen.from_nvml or _is_dumb(turn):
        _carry_out(turn, card, seen)
    else:
        _put_waiting(turn, card, (*card.unconfirmed, seen))


def _carry_out(turn: Turn, card: Card, seen: XidSeen) -> None:
    """Tell of an incident, and do about the card and its services what the code asks for."""
    record = card.xids[seen.code]
    action, cure = asked_for(card, seen, turn.at)
    _tell(turn, card, seen, action, SENTENCES[action])
    if cure is not None:
        why = f"Xid {seen.code}{_meaning(seen)}{times(record, seen.code)}"
        turn.put_card(ailments.ail(turn, card, of_xid(seen.code), cure, why, seen=False))
    if action in CURES:
        _suspect_users(turn, card, seen)


def _suspect_users(turn: Turn, card: Card, seen: XidSeen) -> None:
    for s in _users(turn, card, seen.pid):
        turn.put(_suspect(turn, s, seen))


def _is_dumb(turn: Turn) -> bool:
    """Tell whether it is known that NVML cannot be asked."""
    return turn.gpus is not None and bool(turn.gpus.driver.problem)


def _put_waiting(turn: Turn, card: Card, unconfirmed: tuple[XidSeen, ...]) -> Card:
    card = changed(card, unconfirmed=unconfirmed)
    turn.put_card(card)
    return card


def _confirm(turn: Turn, card: Card, code: int | None = None) -> None:
    """Act on what waited for NVML's word: on this code, or on all of the card."""
    waited = card.unconfirmed
    _put_waiting(turn, card, tuple(w for w in waited if code not in (None, w.code)))
    for seen in waited:
        if code in (None, seen.code):
            _carry_out(turn, turn.cards[card.uuid], seen)


def _bear_out(turn: Turn, card: Card, seen: XidSeen) -> None:
    """Act on NVML's word about a code of which only the kernel log had told so far.

    Lines of the kernel log that were told only, one after the other, silence no error of the card.
    """
    if seen.code == RECOVERY_CHANGED:
        return  # the look shows what the driver asks for
    if card.ailment is None and asked_for(card, seen, turn.at)[1] is not None:
        _carry_out(turn, card, seen)


def on_gpus(turn: Turn, gpus: Gpus) -> None:
    """Take a card that NVML shows as ailing for a word about all that waits for one."""
    ailing = {gpu.uuid for gpu in gpus.gpus if ailments.shown_by(gpu) is not None}
    for card in tuple(turn.cards.values()):
        if card.unconfirmed and (card.lost_since or card.uuid in ailing):
            _confirm(turn, card)


def on_tick(turn: Turn) -> None:
    """End the wait for NVML: what it shows nothing of is told only.

    Where it gave no answer since, the kernel's word counts alone: its lines are read only where
    they begin as the driver's own (see gpu.xid_lines).
    """
    strangers.on_tick(turn)
    for card in tuple(turn.cards.values()):
        over = tuple(w for w in card.unconfirmed if turn.at - w.at >= CONFIRM_SECONDS)
        for seen in over:
            card = turn.cards[card.uuid]
            rest = tuple(w for w in card.unconfirmed if w != seen)
            card = _put_waiting(turn, card, rest)
            if _is_dumb(turn) or turn.gpus is None or turn.gpus.at <= seen.at:
                _carry_out(turn, card, seen)
            else:
                _tell(turn, card, seen, XidAction.NOTE, UNCONFIRMED)


def waits_anew(card: Card, at: float, *, rebooted: bool) -> Card:
    """Return the card as a new process of the agent takes it up: NVML has its time once more.

    After a reboot what waited is of an earlier boot, and told only.
    """
    waiting = (changed(w, at=at, earlier_boot=w.earlier_boot or rebooted) for w in card.unconfirmed)
    return changed(card, unconfirmed=tuple(waiting))


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


def _meaning(seen: XidSeen) -> str:
    return f" ({seen.meaning})" if seen.meaning else ""


SENTENCES = {
    XidAction.NOTE: "noted",
    XidAction.RESTART: "it is restarted unless it still answers",
    XidAction.RESET: "the GPU must be reset",
    XidAction.REBOOT: "the host must be rebooted",
    XidAction.HOLD: "the card must be looked at",
}
UNCONFIRMED = "noted only, as NVML shows nothing of it"


def _tell(turn: Turn, card: Card, seen: XidSeen, action: XidAction, so: str) -> None:
    services = _users(turn, card, seen.pid)
    names = ", ".join(f"{s.name}.service" for s in services)
    whose = f" of {names}" if names else ""
    when = " before this boot" if seen.earlier_boot else ""
    what = f"Xid {seen.code}{_meaning(seen)}{when}{whose}: {so}"
    tell(
        turn,
        card,
        "xid",
        f"{named(card)}: {what}",
        xid=seen.code,
        name=seen.name,
        action=action.value,
        count=card.xids[seen.code].count,
        services=[s.name for s in services],
        text=seen.text,
    )


def _suspect(turn: Turn, s: ServiceState, seen: XidSeen) -> ServiceState:
    """Note the error at the service, and have one that serves show that it lives."""
    failure = of_xid(seen.code)
    if blamed(s, seen.logged_at) and s.live.xid and kind_of(s.live.xid) is Kind.HUMAN:
        failure = s.live.xid  # the lesser error follows from the worse
    live = changed(s.live, xid=failure, xid_at=seen.logged_at, suspect=True)
    may_ask = s.phase is Phase.SERVING and s.asked is None and s.name in turn.policy.services
    if not may_ask or s.running is None or live.canary_pending:
        return changed(s, live=live)
    deadline = turn.policy_of(s).recovery.canary_seconds
    turn.do(Canary(s.name, s.invocation_id, s.running, deadline))
    return changed(s, live=changed(live, canary_pending=True, canary_at=turn.at))


def blamed(s: ServiceState, died_at: float) -> bool:
    """Tell whether the last Xid came so near to a death that it is its cause."""
    return s.live.xid is not None and abs(s.live.xid_at - died_at) <= DEATH_SECONDS
