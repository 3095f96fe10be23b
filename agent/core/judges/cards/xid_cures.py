# SPDX-License-Identifier: Apache-2.0
"""What an Xid asks for: its code's action, and the cure of the card where it comes again."""

from __future__ import annotations

from agent.core.failures.xids import XidAction, xid_action
from agent.core.judges.cards import ailments
from agent.core.judges.cards.incidents import KEPT_SECONDS
from agent.core.measures import DAY_SECONDS, HOUR_SECONDS
from agent.core.state.card import Card, Cure, XidRecord
from agent.core.state.observations import XidSeen

STALE_SECONDS = 600.0
"""What was logged longer ago is counted; its time to act has passed."""

RECOVERY_CHANGED = 154
"""What the driver asks for has changed; to nothing, too."""

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


def asked_for(card: Card, seen: XidSeen, now: float) -> tuple[XidAction, Cure | None]:
    """Return what to do about the engine and about the card; what is long past is noted only."""
    past = seen.earlier_boot or now - seen.logged_at > STALE_SECONDS
    return (XidAction.NOTE, None) if past else _asks_for(seen, card.xids[seen.code])


def _asks_for(seen: XidSeen, record: XidRecord) -> tuple[XidAction, Cure | None]:
    if seen.code == RECOVERY_CHANGED and seen.recovery_action is not None:
        cure = ailments.RECOVERY.get(seen.recovery_action)
        return (XidAction.NOTE if cure is None else XidAction.RESET), cure
    action = xid_action(seen.code)
    most, within, cure = AGAIN.get(seen.code, (0, 0.0, None))
    recent = sum(t > seen.logged_at - within for t in record.incidents)
    if most and recent >= most:
        return action, cure
    return action, CURES.get(action)


def times(record: XidRecord, code: int) -> str:
    """Return how often it came in the time that counts, for a sentence; "" for the first."""
    _, within, _ = AGAIN.get(code, (0, DAY_SECONDS, None))
    recent = sum(t > record.last_at - within for t in record.incidents)
    hours = within / HOUR_SECONDS
    return f", {recent} times within {hours:.0f} h" if recent > 1 else ""
