# SPDX-License-Identifier: Apache-2.0
"""The rows of the store to what is remembered: field by field, whichever version wrote them.

A word that this version does not know (a failure class of a newer one, a damaged value) costs the
field that it stands in, never the service: the operator's stop, what was learned and the last good
settings outlive it. Only what means something as a whole is left out as a whole.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from agent.core.codec import WRONG, decode
from agent.core.doctor.finding import Finding
from agent.core.record import dataclass
from agent.core.settings.service import Settings
from agent.core.state.actions import Asked
from agent.core.state.card import Ailment, Card
from agent.core.state.held import Held, HeldBy
from agent.core.state.host import HostState
from agent.core.state.learned import Override
from agent.core.state.observations import XidSeen
from agent.core.state.phases import Phase
from agent.core.state.rows.migrations import service_row
from agent.core.state.service import ServiceState
from agent.core.state.steering.wishes import Pause

if TYPE_CHECKING:
    from agent.core.state.telling.outbox import Outbox

HOST: Final = "host"
SERVICE: Final = "service:"
GPU: Final = "gpu:"
CHECKUP: Final = "checkup"
OUTBOX: Final = "outbox"
PAUSE: Final = "pause"
"""The pause of the whole host; null when there is none."""

LONGEST_ROW: Final = 4 << 20
"""A service's row has a few KiB."""
SHOWN: Final = 3

WHOLE: Final = frozenset({Settings, Override, Asked, Ailment, XidSeen})
"""Half of the settings that ran are settings that never ran."""


@dataclass(frozen=True, slots=True)
class _Checkup:
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class _Boot:
    booted_at: float = 0.0


def _unnoted(_key: str) -> None:
    """Take no note of which row is read."""


def state_of(
    rows: Mapping[str, str], begins: Callable[[str], None] = _unnoted
) -> tuple[HostState, tuple[str, ...]]:
    """Return what the rows tell, and a sentence for each that was not read whole. Never raises.

    `begins` is told the key of each row before it is read.
    """
    services: dict[str, ServiceState] = {}
    cards: dict[str, Card] = {}
    findings: tuple[Finding, ...] = ()
    pause: Pause | None = None
    outbox = None
    boot_id, next_action_id, booted_at = "", 1, 0.0
    problems: list[str] = []
    for key, text in rows.items():
        begins(key)
        lost: list[str] = []
        try:
            if key == HOST:
                boot_id, next_action_id, booted_at = _host(_parsed(text), lost)
            elif key.startswith(SERVICE):
                name = key.removeprefix(SERVICE)
                services[name] = _service(name, _parsed(text), lost)
            elif key.startswith(GPU):
                uuid = key.removeprefix(GPU)
                cards[uuid] = decode(Card, {**_table(_parsed(text)), "uuid": uuid}, lost, WHOLE)
            elif key == CHECKUP:
                findings = decode(_Checkup, {"findings": _parsed(text)}, lost).findings
            elif key == PAUSE and (document := _parsed(text)) is not None:
                pause = decode(Pause, document)
            elif key == OUTBOX:
                outbox = _outbox(_parsed(text), lost)
        except WRONG as error:
            why = str(error)[:200] or type(error).__name__
            problems.append(f"what was remembered as {key} cannot be read ({why}): forgotten")
        if lost:
            more = f" and {len(lost) - SHOWN} more" if len(lost) > SHOWN else ""
            parts = "; ".join(lost[:SHOWN])
            problems.append(f"of what was remembered as {key} this was left out: {parts}{more}")
    state = HostState(
        boot_id,
        next_action_id,
        services,
        cards=cards,
        findings=findings,
        pause=pause,
        outbox=outbox,
        booted_at=booted_at,
    )
    return state, tuple(problems)


def _service(name: str, document: object, lost: list[str]) -> ServiceState:
    row = service_row({**_table(document), "name": name})
    s = decode(ServiceState, row, lost, WHOLE)
    if s.phase is Phase.HELD and s.held is None:
        # What ends it is not known any more: a person, as for any failure.
        return replace(s, held=Held(HeldBy.FAILURE, s.reason, ""))
    return s


def _outbox(document: object, lost: list[str]) -> Outbox | None:
    if document is None:
        return None
    from agent.core.state.telling.outbox import Entry, Message, Outbox  # for who tells: memory

    return decode(Outbox, document, lost, frozenset({Entry, Message}))


def _host(document: object, lost: list[str]) -> tuple[str, int, float]:
    table = _table(document)
    boot_id, number = table.get("boot_id", ""), table.get("next_action_id", 1)
    if not isinstance(boot_id, str):
        lost.append("boot_id")
        boot_id = ""
    if not isinstance(number, int) or isinstance(number, bool) or not 0 < number < 1 << 62:
        lost.append("next_action_id")
        number = 1
    return boot_id, number, decode(_Boot, table, lost).booted_at


def _parsed(text: str) -> Any:
    if len(text) > LONGEST_ROW:
        raise ValueError(f"it has {len(text)} characters, more than anything that is remembered")
    return json.loads(text)


def _table(document: object) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise TypeError("is no table")
    return document
