# SPDX-License-Identifier: Apache-2.0
"""decide(state, observation, policy) -> Decision: the one place where anything is decided.

Pure: the same state, observation and policy always give the same decision.

Theory of operation
-------------------
A decision has two halves. First the *news*: the observation goes to the judges whose concern it
is, and to no other. They change what is remembered of a service or a card, and may ask for an
action. An observation of a run that is over (another InvocationID) changes nothing.

Then the *passes*: each looks at all services, whatever the observation was. They are level-
triggered: they ask "what is so now, and what follows from it?", never "what has just happened?".
So a signal that was lost, an agent that was killed between two steps, or a source that comes back
late costs time and nothing else. Each pass takes the state that the one before it left, so their
order is part of the meaning:

1. ``holds.hold_and_free``: what must not run is held, what may run again is let go. Holds come
   first, for nothing below may start, fetch or plan what is held.
2. ``mismatch.restart_what_waited``: services that waited for a driver that fits again are due now.
3. ``planning.plan_and_learn``: a service that is due for the first time is planned, and held when
   it cannot fit. It comes after the other holds, whose reasons a plan would only repeat, and
   before the fetch, so that nobody waits for gigabytes of a model that cannot run.
4. ``leftovers.reap``: what is left of the last run is killed, as it holds memory, ports and files
   that the next start, and a fetch, want.
5. ``fetching.go_on``: what is missing of a model is fetched, or its fetch is watched.
6. ``together.keep_together``: of a service that several hosts serve, what runs in another
   generation than theirs is ended. It comes after all that may end a rank here.
7. ``lifecycle.start_what_may``: what is due and passes every gate is started. It comes last of
   those that prepare a start, so that one decision can take all steps, and it looks at all
   services together, so that two of them never start on one card at the same time.
8. ``ahead.go_on``: what a start reads is listed while a service serves, and read before a restart
   that is planned. It comes after the starts, since nothing is read while an engine loads.
9. ``lifecycle.stop_what_must_not_come_back``: a dead unit that now waits or is held is stopped, or
   systemd's own Restart= would bring it back meanwhile. Only the outcome of all other passes tells
   which units those are.

What a decision asks of the world (a start, a stop, a fetch) is part of the state that it returns,
under a number. The loop records that state and the reason before it carries the actions out; after
a crash the same passes find what was asked and never seen to happen, and ask again.

A service that an operator has paused is looked at like any other and told of; each pass that would
act on it leaves it alone, and finds the same to do once the pause is over.
"""

from __future__ import annotations

from typing import assert_never

from agent.core.cluster.group import PeerAnswered
from agent.core.judges.alive import liveness, verification
from agent.core.judges.cards import looks as cards
from agent.core.judges.cards import xids
from agent.core.judges.driver import mismatch as driver_match
from agent.core.judges.driver import news as driver_news
from agent.core.judges.holders import processes as ground
from agent.core.judges.recover import forgetting as learning
from agent.core.judges.recover import port, recovery
from agent.core.judges.recover import trials as probing
from agent.core.judges.service import (
    checkup,
    configuration,
    evidence,
    holds,
    lifecycle,
    wishes,
)
from agent.core.judges.start import ahead, fetching, leftovers, planning
from agent.core.judges.turn import AGENT, Turn
from agent.core.state.host import Decision, HostState
from agent.core.state.observations import (
    ActionDone,
    AgentStarted,
    ApiSeen,
    CacheSeen,
    CanaryDone,
    ConfigLoaded,
    ConfigRefused,
    FetchSeen,
    GpuActionDone,
    GpusSeen,
    HostExamined,
    LogConcluded,
    LogProgress,
    Observation,
    ServiceObservation,
    Tick,
    UnitSeen,
    Verified,
    XidSeen,
)
from agent.core.state.policy import HostPolicy
from agent.core.state.process import EvidenceTaken, PortSeen
from agent.core.state.service import ServiceState
from agent.core.state.start.ahead import AheadSeen
from agent.core.state.steering.asked import OperatorAsked
from agent.core.state.telling.sending import Sent


def decide(state: HostState, observation: Observation, policy: HostPolicy) -> Decision:
    """Return the next state, the actions and the history lines that `observation` leads to."""
    turn = Turn(state, policy, observation.at)
    match observation:
        case Tick():
            xids.on_tick(turn)
            wishes.on_tick(turn, observation.local_seconds)
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
        case OperatorAsked():
            from agent.core.judges.service import steering  # for who asks: memory

            steering.on_asked(turn, observation)
        case Sent():
            from agent.core.telling import post  # for who tells somebody: memory

            if said := post.sentence(turn.outbox, observation):
                turn.tell(AGENT, "told", said)
            turn.outbox = post.on_sent(turn.outbox, observation)
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
    _keep_together(turn)
    lifecycle.start_what_may(turn)
    ahead.go_on(turn)
    lifecycle.stop_what_must_not_come_back(turn)
    return turn.decision()


def _keep_together(turn: Turn) -> None:
    groups = any(s.group is not None for s in turn.services.values())
    if groups or any(p.settings.cluster is not None for p in turn.policy.services.values()):
        from agent.core.judges.group import together  # for who serves with other hosts: memory

        together.keep_together(turn)


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
        case AheadSeen():
            return ahead.on_seen(turn, s, observation)
        case EvidenceTaken():
            evidence.on_evidence(turn, s, observation)
            return s
        case PortSeen():
            return port.on_port(turn, s, observation)
        case PeerAnswered():
            from agent.core.judges.group import peers  # as above

            return peers.on_answered(turn, s, observation)
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
