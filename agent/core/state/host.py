# SPDX-License-Identifier: Apache-2.0
"""The state of the whole host, and what one decision gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import TYPE_CHECKING

from agent.core.doctor.finding import Finding
from agent.core.gpu.reading import Gpus
from agent.core.record import dataclass
from agent.core.settings.service import Settings
from agent.core.state.actions import Action
from agent.core.state.card import Card, Strangers
from agent.core.state.service import ServiceState
from agent.core.state.steering.wishes import Pause

if TYPE_CHECKING:
    from agent.core.state.telling.outbox import Outbox  # loaded by who tells somebody


@dataclass(frozen=True, slots=True)
class HostState:
    """The state of everything the agent looks after."""

    boot_id: str = ""
    next_action_id: int = 1
    services: Mapping[str, ServiceState] = field(default_factory=dict)
    gpus: Gpus | None = None
    """The last look; not stored."""

    cards: Mapping[str, Card] = field(default_factory=dict)
    """The GPUs by UUID."""

    started_at: float = 0.0
    """The start of this process; not stored."""

    findings: tuple[Finding, ...] = ()
    """What the last check of the host found wrong."""

    strangers: Strangers = field(default_factory=Strangers)
    """Not stored."""

    pause: Pause | None = None
    """One of the whole host."""

    may_start: Mapping[str, Settings] = field(default_factory=dict)
    """Services that are left out of this decision (see guard.py) and may be starting; not
    stored."""

    outbox: Outbox | None = None
    """What a person is to be told; None where nobody is told of anything."""

    booted_at: float = 0.0
    """When the kernel's clock of this boot began, in the agent time in which all other times here
    are; 0 where an agent wrote them that did not tell."""


@dataclass(frozen=True, slots=True)
class News:
    """One line of the history: what happened or was decided, with its reason."""

    service: str
    kind: str
    message: str
    data: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decision:
    """The next state, what to do now, and what to tell."""

    state: HostState
    actions: tuple[Action, ...] = ()
    news: tuple[News, ...] = ()
