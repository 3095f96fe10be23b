# SPDX-License-Identifier: Apache-2.0
"""The state of the whole host, and what one decision gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from agent.core.doctor.finding import Finding
from agent.core.gpu.reading import Gpus
from agent.core.state.actions import Action
from agent.core.state.card import Card, Strangers
from agent.core.state.service import ServiceState
from agent.core.state.steering.wishes import Pause


@dataclass(frozen=True, slots=True)
class HostState:
    """The state of everything the agent looks after; `cards` are the GPUs by UUID.

    `findings` are what the last check of the host found wrong. `gpus` is only the last look and
    `started_at` the start of this process: neither is stored, nor is `strangers`. `pause` is one of
    the whole host.
    """

    boot_id: str = ""
    next_action_id: int = 1
    services: Mapping[str, ServiceState] = field(default_factory=dict)
    gpus: Gpus | None = None
    cards: Mapping[str, Card] = field(default_factory=dict)
    started_at: float = 0.0
    findings: tuple[Finding, ...] = ()
    strangers: Strangers = field(default_factory=Strangers)
    pause: Pause | None = None


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
