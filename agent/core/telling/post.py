# SPDX-License-Identifier: Apache-2.0
"""When what waits becomes a message, and when a message is sent again.

A message gathers what came together. A storm is bounded by how many were made in the last twelve
hours: each next one waits longer, and what is not critical cannot use up the room of what is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from agent.core.measures import DAY_SECONDS, HOUR_SECONDS
from agent.core.settings.notify import Notify, Severity
from agent.core.state.host import Decision, HostState
from agent.core.state.phases import Phase
from agent.core.state.telling.outbox import Entry, Message, Outbox
from agent.core.state.telling.sending import Ping, Send, Sent
from agent.core.telling.incidents import hear, lines_of, long_ones

GATHER_SECONDS: Mapping[Severity, float] = {
    Severity.CRITICAL: 5.0,
    Severity.WARNING: 15.0,
    Severity.INFO: 15.0,
}
"""What comes within so long is one message."""

SPAN_SECONDS = 12 * HOUR_SECONDS
GAPS_SECONDS: Mapping[Severity, tuple[float, ...]] = {
    Severity.CRITICAL: (0.0, 15.0, 300.0, 2 * HOUR_SECONDS, 4 * HOUR_SECONDS),
    Severity.WARNING: (0.0, 300.0, 1800.0),
    Severity.INFO: (0.0, 300.0, 1800.0),
}
"""How long after the last a message may be made, by how many were in the span; then none."""

MOST_LINES = 24
LONGEST_WHY = 200
MOST_MESSAGES = 20
LOST_SECONDS = 240.0
"""A sending has a deadline far below; after this long its end was lost."""

FIRST_RETRY_SECONDS = 60.0
LONGEST_RETRY_SECONDS = HOUR_SECONDS
OLDEST_SECONDS = DAY_SECONDS
"""What could not be sent for so long is given up, and counted."""

DIGEST_WINDOW_SECONDS = HOUR_SECONDS


def told(decision: Decision, notify: Notify, at: float, local_seconds: float) -> Decision:
    """Return the decision with what a person is to hear of it, and with what is to be sent now."""
    state = decision.state
    if not notify.anybody:
        gone = replace(state, outbox=None)
        return decision if state.outbox is None else replace(decision, state=gone)
    box = state.outbox or Outbox()
    actions: list[Send | Ping] = []
    for line in decision.news:
        box = hear(box, line, at)
    if not notify.urls_file:
        box = replace(box, entries=(), night=()) if box.entries else box
    else:
        box = _composed(long_ones(box, at, notify.after_seconds), notify, at, local_seconds)
        box = _with_digest(box, state, notify, at, local_seconds)
        box, send = _next(box, notify, at)
        actions += [send] if send is not None else []
    if notify.dead_mans_switch_file:
        box, ping = _ping(box, state, notify, at)
        actions += [ping] if ping is not None else []
    if box is state.outbox:
        return decision
    after = replace(state, outbox=box)
    return replace(decision, state=after, actions=(*decision.actions, *actions))


def on_sent(box: Outbox | None, sent: Sent) -> Outbox | None:
    """Return the outbox after a try to send, or to ask for the dead-man's switch."""
    if box is None:
        return None
    if not sent.number:
        live = replace(box.live, ping_failed="" if sent.sent else sent.problem)
        return replace(box, live=live)
    after = tuple(_after(message, sent) for message in box.messages)
    return replace(
        box,
        messages=tuple(message for message in after if message is not None),
        last_sent_at=sent.at if sent.sent else box.last_sent_at,
        problem="" if sent.sent else sent.problem,
        given_up=box.given_up + (0 if sent.sent else sum(message is None for message in after)),
        live=replace(box.live, under_way=0),
    )


def sentence(box: Outbox | None, sent: Sent) -> str:
    """Return what the history says of a message that somebody took; "" for nothing."""
    messages = box.messages if box is not None else ()
    message = next((one for one in messages if one.number == sent.number), None)
    if message is None or not sent.took:
        return ""
    return f"told {', '.join(sent.took)}: {message.title}"


def _after(message: Message, sent: Sent) -> Message | None:
    if message.number != sent.number:
        return message
    if sent.sent or sent.at - message.at >= OLDEST_SECONDS:
        return None
    wait = min(FIRST_RETRY_SECONDS * 2.0 ** min(message.tries, 10), LONGEST_RETRY_SECONDS)
    tries, left = message.tries + 1, sent.left or message.left
    return replace(message, tries=tries, retry_at=sent.at + wait, left=left)


def _composed(box: Outbox, notify: Notify, at: float, local_seconds: float) -> Outbox:
    quiet = notify.quiet is not None and notify.quiet.holds(local_seconds)
    wanted = tuple(e for e in box.entries if e.severity.rank >= notify.least.rank)
    if not wanted:
        return replace(box, entries=()) if box.entries else box
    worst = max(wanted, key=lambda entry: entry.severity.rank).severity
    if quiet and worst is not Severity.CRITICAL:
        return box
    first = min(entry.at for entry in wanted if entry.severity is worst)
    if at - first < GATHER_SECONDS[worst] or not _may(box, worst, at):
        return box
    message = _message(box.next_number, at, wanted, box.left_out)
    made = tuple(t for t in box.composed_at if at - t < SPAN_SECONDS)
    return _with_message(replace(box, entries=(), left_out=0, composed_at=(*made, at)), message)


def _may(box: Outbox, severity: Severity, at: float) -> bool:
    made = [t for t in box.composed_at if at - t < SPAN_SECONDS]
    gaps = GAPS_SECONDS[severity]
    return len(made) < len(gaps) and (not made or at - made[-1] >= gaps[len(made)])


def _message(number: int, at: float, entries: tuple[Entry, ...], left_out: int) -> Message:
    ordered = tuple(sorted(entries, key=lambda entry: (-entry.severity.rank, entry.at)))
    first, *more = ordered
    title = first.text if not more else f"{first.text} (and {len(more)} more)"
    lines = list(lines_of(ordered))
    cut = lines[:MOST_LINES]
    unsaid = len(lines) - len(cut) + left_out
    if unsaid:
        cut.append(f"... and {unsaid} lines more")
    cut.append("history: llmagent events --since 12h")
    return Message(number, at, first.severity, title[:160], "\n".join(cut))


def _with_message(box: Outbox, message: Message) -> Outbox:
    messages = (*box.messages, message)
    dropped = max(0, len(messages) - MOST_MESSAGES)
    return replace(
        box,
        messages=messages[dropped:],
        next_number=message.number + 1,
        given_up=box.given_up + dropped,
    )


def _with_digest(
    box: Outbox, state: HostState, notify: Notify, at: float, local_seconds: float
) -> Outbox:
    if notify.digest is None:
        return replace(box, night=()) if box.night else box
    due = (local_seconds - notify.digest) % DAY_SECONDS < DIGEST_WINDOW_SECONDS
    if not due or at - box.digest_at < SPAN_SECONDS:
        return box
    serving = [s.name for s in state.services.values() if s.phase is Phase.SERVING]
    others = [f"{s.name} is {s.phase}" for s in state.services.values() if s.name not in serving]
    now = ", ".join([*(f"{name} serves" for name in serving), *others]) or "no service"
    title = (
        f"summary: {len(box.night)} things happened; now {now}"
        if box.night
        else (f"summary: nothing happened; {now}")
    )
    body = "\n".join([*list(lines_of(box.night))[-MOST_LINES:], f"now: {now}"])
    message = Message(box.next_number, at, Severity.INFO, title[:160], body)
    return _with_message(replace(box, night=(), digest_at=at), message)


def _next(box: Outbox, notify: Notify, at: float) -> tuple[Outbox, Send | None]:
    live = box.live
    if not box.messages or (live.under_way and at - live.asked_at < LOST_SECONDS):
        return box, None
    due = (message for message in box.messages if message.retry_at <= at)
    message = min(due, key=lambda m: (-m.severity.rank, m.at), default=None)
    if message is None:
        return box, None
    live = replace(live, under_way=message.number, asked_at=at)
    return replace(box, live=live), Send(message, notify.urls_file)


def _ping(box: Outbox, state: HostState, notify: Notify, at: float) -> tuple[Outbox, Ping | None]:
    """Ask for the switch's address in its time, and at once when something ceases to be well."""
    why = "; ".join(_not_well(box, state, at, notify.after_seconds))
    due = at - box.live.pinged_at >= notify.dead_mans_switch_seconds
    if not due and (not why or box.live.not_well):
        return box, None
    live = replace(box.live, pinged_at=at, not_well=why[:LONGEST_WHY])
    ping = Ping(notify.dead_mans_switch_file, well=not why, why=why[:LONGEST_WHY])
    return replace(box, live=live), ping


def _not_well(box: Outbox, state: HostState, at: float, after_seconds: float) -> Iterator[str]:
    """Yield what needs somebody: what is held, and what is away for too long."""
    for s in state.services.values():
        if s.phase is Phase.HELD:
            yield f"{s.name} is held"
    for name, incident in box.incidents.items():
        if at - incident.since >= after_seconds:
            yield f"{name} is away: {incident.cause}"
