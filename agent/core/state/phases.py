# SPDX-License-Identifier: Apache-2.0
"""Words that observations, actions and state share."""

from __future__ import annotations

from enum import StrEnum


class Phase(StrEnum):
    """What the agent is about with one service."""

    WAITING = "waiting"
    FETCHING = "fetching"
    STARTING = "starting"
    VERIFYING = "verifying"
    SERVING = "serving"
    EXAMINING = "examining"
    STOPPING = "stopping"
    STOPPED = "stopped"
    HELD = "held"


class Then(StrEnum):
    """What follows a stop or kill that the agent asked for."""

    WAIT = "wait"
    HOLD = "hold"
    RECOVER = "recover"
    STAY_DOWN = "stay-down"


RUNS = frozenset({Phase.STARTING, Phase.VERIFYING, Phase.SERVING})
"""Phases in which a main process of the service is there."""
