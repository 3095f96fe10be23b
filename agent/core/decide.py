# SPDX-License-Identifier: Apache-2.0
"""decide(state, observation, policy) -> Decision: the one place where anything is decided.

Pure: the same state, observation and policy always give the same decision. What is asked of the
unit is part of the returned state, so that it can be recorded before it is done.
"""

from __future__ import annotations

from typing import assert_never

from agent.core.judges.alive import liveness, verification
from agent.core.judges.cards import looks as cards
from agent.core.judges.cards import xids
from agent.core.judges.driver import mismatch as driver_match
from agent.core.judges.driver import news as driver_news
from agent.core.judges.holders import processes as ground
from agent.core.judges.recover import forgetting as learning
from agent.core.judges.recover import port, recovery
from agent.core.judges.recover import trials as probing
from agent.core.judges.service import checkup, configuration, evidence, holds, lifecycle
from agent.core.judges.start import fetching, leftovers, planning
from agent.core.judges.turn import Turn
from agent.core.state.host import Decision, HostState
from agent.core.state.observations import (
    ActionDone,
    AgentStarted,
    ApiSeen,
    CacheSeen,
    CanaryDone,
    ConfigLoaded,
    ConfigRefused,
    EvidenceTaken,
    FetchSeen,
    GpuActionDone,
    GpusSeen,
    HostExamined,
    LogConcluded,
    LogProgress,
    Observation,
    PortSeen,
    ServiceObservation,
    Tick,
    UnitSeen,
    Verified,
    XidSeen,
)
from agent.core.state.policy import HostPolicy
from agent.core.state.service import ServiceState


def decide(state: HostState, observation: Observation, policy: HostPolicy) -> Decision:
    """Return the next state, the actions and the history lines that `observation` leads to."""
    turn = Turn(state, policy, observation.at)
    match observation:
        case Tick():
            for s in tuple(turn.services.values()):
                s = liveness.on_tick(turn, lifecycle.on_tick(turn, s))
                turn.put(probing.on_tick(turn, s, observation.local_seconds))
        case AgentStarted():
            configuration.on_agent_started(turn, state.boot_id, observation)
        case ConfigLoaded():
            configuration.on_config_loaded(turn, observation)
        case ConfigRefused():
            configuration.on_config_refused(turn, observation)
        case GpusSeen():
            driver_news.on_gpus(turn, observation.gpus)
            cards.on_gpus(turn, observation)
            ground.remember_own_processes(turn)
            learning.on_gpus(turn)
        case GpuActionDone():
            cards.on_done(turn, observation)
        case XidSeen():
            xids.on_xid(turn, observation)
        case HostExamined():
            checkup.on_examined(turn, observation)
        case _:
            if observation.service in turn.services:
                s = turn.services[observation.service]
                turn.put(_on_service(turn, s, observation))
    holds.hold_and_free(turn)
    driver_match.restart_what_waited(turn)
    planning.plan_and_learn(turn)
    leftovers.reap(turn)
    fetching.go_on(turn)
    lifecycle.start_what_may(turn)
    lifecycle.stop_what_must_not_come_back(turn)
    return turn.decision()


def _on_service(turn: Turn, s: ServiceState, observation: ServiceObservation) -> ServiceState:
    match observation:
        case UnitSeen():
            return lifecycle.on_unit(turn, s, observation)
        case ActionDone():
            return lifecycle.on_action_done(turn, s, observation)
        case CacheSeen():
            return fetching.on_cache(turn, s, observation)
        case FetchSeen():
            return fetching.on_fetch(turn, s, observation)
        case LogConcluded():
            return recovery.on_log_concluded(turn, s, observation)
        case EvidenceTaken():
            evidence.on_evidence(turn, s, observation)
            return s
        case PortSeen():
            return port.on_port(turn, s, observation)
    if observation.invocation_id != s.invocation_id:
        return s  # stale news of an earlier run
    match observation:
        case LogProgress():
            return liveness.on_log_progress(turn, s, observation)
        case ApiSeen():
            return liveness.on_api(turn, s, observation)
        case CanaryDone():
            return liveness.on_canary(turn, s, observation)
        case Verified():
            return verification.on_verified(turn, s, observation)
        case _:
            assert_never(observation)
