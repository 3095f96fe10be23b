# SPDX-License-Identifier: Apache-2.0
"""Alive means tokens; starting means progress.

/health answers 200 for ever while the engine hangs (vLLM 0.8..0.32), so a serving engine is judged
by its token counters and, when they stand still, by a one-token request. A long queue and a long
prefill are busy, not dead. A starting engine is judged by whether its log still moves.
"""

from __future__ import annotations

from dataclasses import replace

from agent.core.failures.classes import EnginePhase, FailureClass
from agent.core.judges.alive import engines, golden, gone, hang_detection, proof, unreached
from agent.core.judges.alive import start_progress as startup
from agent.core.judges.alive.killing import kill
from agent.core.judges.alive.verification import ask_verify, watch_verification
from agent.core.judges.cards import throttle
from agent.core.judges.recover import rollback
from agent.core.judges.recover import trials as probing
from agent.core.judges.turn import Turn
from agent.core.settings.recovery import Recovery
from agent.core.state.actions import Canary
from agent.core.state.observations import ApiSeen, CanaryDone, LogProgress
from agent.core.state.phases import Phase
from agent.core.state.service import ServiceState

RANK_UNSEEN_SECONDS = 30.0
"""How often an idle engine is asked for one token while a host of its ranks is away."""


def on_log_progress(turn: Turn, s: ServiceState, seen: LogProgress) -> ServiceState:
    """Note how far the start has come."""
    moved = seen.activity != s.live.activity or seen.engine_phase is not s.live.engine_phase
    is_complete = seen.engine_phase is EnginePhase.SERVING
    live = replace(
        s.live,
        engine_phase=seen.engine_phase,
        log_tells_ready=is_complete or s.live.log_tells_ready,
        progress=seen.progress,
        activity=seen.activity,
        activity_at=turn.at if moved else s.live.activity_at,
        facts=seen.facts,
        stages=seen.stages,
        stage_at=s.live.stage_at if seen.stages.now is s.live.stages.now else turn.at,
    )
    just_complete = live.log_tells_ready and not s.live.log_tells_ready
    live = replace(live, ready_at=turn.at) if just_complete else live
    s = gone.on_log(turn, replace(s, live=live))
    if s.phase is Phase.VERIFYING and just_complete and not live.verify_pending:
        return ask_verify(turn, s)
    return s


def on_api(turn: Turn, s: ServiceState, seen: ApiSeen) -> ServiceState:
    """Judge an answer of vLLM's HTTP side."""
    s = unreached.seen(s) if seen.healthy else s
    match s.phase:
        case Phase.STARTING if seen.healthy and s.asked is None:
            return _ready(turn, s)
        case Phase.SERVING | Phase.VERIFYING:
            return _count_tokens(turn, s, seen)
        case _:
            return s


def _ready(turn: Turn, s: ServiceState) -> ServiceState:
    took = None if s.live.is_older else turn.at - s.started_at
    since = "" if took is None else f", {took:.0f} s after the start"
    s = turn.enter(s, Phase.VERIFYING, "ready", f"/health answers 200{since}")
    live = replace(s.live, engine_phase=EnginePhase.SERVING, tokens_at=turn.at, verify_at=turn.at)
    s = replace(s, start_seconds=took, live=live)
    # With half of the log, what was asked passes for what is so, as vLLM repeats it early: wait for
    # the line that says "ready", or for VERIFY_AGAIN_SECONDS where the log has none.
    return ask_verify(turn, s) if live.log_tells_ready else s


def _count_tokens(turn: Turn, s: ServiceState, seen: ApiSeen) -> ServiceState:
    live = s.live
    if seen.counters is None:
        return s
    before = live.counters
    moved = before is None or before.pulse != seen.counters.pulse
    tokens_at = turn.at if moved else live.tokens_at
    misses = 0 if moved else live.canary_misses
    return replace(
        s,
        live=replace(
            live,
            **throttle.rates(turn, s, seen.counters),
            counters=seen.counters,
            counters_at=turn.at,
            tokens_at=tokens_at,
            canary_misses=misses,
            engines=engines.with_counters(live, seen.counters, turn.at),
        ),
    )


def on_canary(turn: Turn, s: ServiceState, done: CanaryDone) -> ServiceState:
    """Judge the end of a one-token request."""
    labels = s.live.canary_engines
    s = replace(s, live=replace(s.live, canary_pending=False, canary_engines=()))
    if s.phase is not Phase.SERVING:
        return s
    if done.refused or (done.queue_full and not _has_work(s)):
        # Neither life nor death; misses count only in a row.
        s = hang_detection.off(turn, s, done.detail)
        return replace(s, live=replace(s.live, canary_misses=0))
    live = s.live
    if not done.answered and unreached.is_unreached(s):
        return unreached.unjudged(turn, s, done.detail)
    if live.suspect and live.xid is not None and not done.answered:
        return _on_suspect(turn, s, live.xid, done.detail)
    if labels:
        return _on_engines(turn, s, labels, done)
    if done.answered:
        live = replace(live, canary_misses=0, tokens_at=turn.at, suspect=False)
        return hang_detection.on(turn, replace(s, live=live))
    if live.tokens_at >= live.canary_at:
        return s  # tokens moved meanwhile: busy, not dead
    s = replace(s, live=replace(live, canary_misses=live.canary_misses + 1))
    still = turn.at - live.tokens_at
    if not proof.is_proven(turn, s, s.live.canary_misses, proof.misses_that_prove(turn, s), still):
        return s
    return proof.kill_hung(turn, s, still, done.detail)


def _on_suspect(turn: Turn, s: ServiceState, xid: FailureClass, detail: str) -> ServiceState:
    """Judge a failed one-token request after the driver's error: only later tokens show life."""
    poll_seconds = turn.policy_of(s).recovery.poll_seconds
    if s.live.tokens_at >= s.live.canary_at + 2 * poll_seconds:
        return replace(s, live=replace(s.live, suspect=False))
    return kill(turn, s, xid, f"a one-token request failed after the driver's error ({detail})")


def _on_engines(
    turn: Turn, s: ServiceState, labels: tuple[str, ...], done: CanaryDone
) -> ServiceState:
    """Judge requests that were addressed to engines of a data-parallel service, one to each."""
    missed = () if done.answered else (done.missed or labels)
    lives = engines.with_answers(s.live, labels, missed, turn.at)
    s = replace(s, live=replace(s.live, engines=lives))
    if not missed:
        s = replace(s, live=replace(s.live, suspect=False))
        return s if engines.has_stuck(s.live) else hang_detection.on(turn, s)
    for label in missed:
        engine = lives.get(label)
        if engine is None or engine.moved_at >= engine.asked_at:
            continue
        still = turn.at - engine.moved_at
        needed = proof.misses_of(turn, s, amid_work=engine.amid_work)
        if proof.is_proven(turn, s, engine.misses, needed, still):
            return proof.kill_hung(turn, s, still, done.detail, label)
    return s


def _has_work(s: ServiceState) -> bool:
    counters = s.live.counters
    return counters is not None and counters.running + counters.waiting > 0


def on_tick(turn: Turn, s: ServiceState) -> ServiceState:
    """Judge what did not happen in time."""
    if s.name not in turn.policy.services or s.asked is not None:
        return s
    s = gone.on_tick(turn, s)
    match s.phase:
        case Phase.STARTING if s.running is not None and s.running.headless:
            from agent.core.judges.alive import follower  # for who has one: memory

            return follower.serves_with_its_head(turn, s)
        case Phase.SERVING if s.running is not None and s.running.headless:
            return _settle(turn, s)
        case Phase.STARTING if unreached.says_ready(turn, s):
            s = turn.enter(s, Phase.VERIFYING, "ready", "its log says so; /health was not reached")
            return ask_verify(turn, s)
        case Phase.STARTING:
            why = startup.stalled(turn, s)
            return kill(turn, s, FailureClass.START_STALLED, why) if why else s
        case Phase.VERIFYING:
            return watch_verification(turn, s)
        case Phase.SERVING:
            return _verify_again(turn, _settle(turn, _watch_tokens(turn, s)))
        case _:
            return s


def _watch_tokens(turn: Turn, s: ServiceState) -> ServiceState:
    s = hang_detection.while_asleep(turn, s)
    recovery, live = _watchful(turn, s), s.live
    # A canary has its own deadline; one that is lost with its lane is not waited for for ever.
    if live.canary_pending and turn.at - live.canary_at < 2 * live.canary_seconds:
        return s
    if live.unjudged == hang_detection.ASLEEP:
        return s if hang_detection.sleeps(s) else _ask(turn, s, ())
    seen = turn.at - live.counters_at < recovery.hang_seconds
    if live.engines and seen:
        return _watch_engines(turn, s)
    still = turn.at - max(live.tokens_at, live.canary_at)
    suspicious = _has_work(s) or live.canary_misses > 0
    if still < (recovery.hang_seconds if suspicious else recovery.canary_every_seconds):
        return s
    return _ask(turn, s, ())


def _watchful(turn: Turn, s: ServiceState) -> Recovery:
    """Return the limits, with more questions while the llmagent of another rank does not answer.

    Only a request shows then whether that rank lives: nothing else of the engine tells.
    """
    recovery = turn.policy_of(s).recovery
    if s.group is None or not s.group.live.misses_somebody(turn.at):
        return recovery
    every = min(recovery.canary_every_seconds, RANK_UNSEEN_SECONDS)
    return replace(recovery, canary_every_seconds=every)


def _watch_engines(turn: Turn, s: ServiceState) -> ServiceState:
    recovery = _watchful(turn, s)
    labels = engines.due(s.live, recovery, turn.at)
    if not labels:
        return s
    if strange := engines.answered_for(s.live, recovery, turn.at):
        why = f"engine {strange} stands still amid work, and another one answers its requests"
        s = hang_detection.off(turn, s, why)
    s = replace(s, live=replace(s.live, engines=engines.asked(s.live, labels, turn.at)))
    return _ask(turn, s, labels)


def _ask(turn: Turn, s: ServiceState, labels: tuple[str, ...]) -> ServiceState:
    assert s.running is not None
    seconds = _canary_seconds(turn, s)
    first = min(map(int, s.live.engines), default=0)
    turn.do(Canary(s.name, s.invocation_id, s.running, seconds, labels, first))
    asked = replace(s.live, canary_pending=True, canary_at=turn.at, canary_seconds=seconds)
    return replace(s, live=replace(asked, canary_amid_work=_has_work(s), canary_engines=labels))


def _canary_seconds(turn: Turn, s: ServiceState) -> float:
    recovery = turn.policy_of(s).recovery
    seen = s.live.counters is not None and turn.at - s.live.counters_at < recovery.hang_seconds
    return recovery.canary_seconds * (1 if seen else 2 ** min(s.live.canary_misses, 2))


def _verify_again(turn: Turn, s: ServiceState) -> ServiceState:
    """Run the list once a day, in a moment without work: what is asked then delays nobody."""
    quiet = s.phase is Phase.SERVING and not _has_work(s) and not s.live.canary_pending
    if not quiet or s.live.verify_pending or not golden.is_due(turn, s):
        return s
    return ask_verify(turn, s)


def _settle(turn: Turn, s: ServiceState) -> ServiceState:
    settle_seconds = turn.policy_of(s).recovery.settle_seconds
    if s.settled or s.phase is not Phase.SERVING or turn.at - s.since < settle_seconds:
        return s
    tries = s.learned.attempts
    if tries:
        why = f"served for {settle_seconds:.0f} s: the {tries} tries before are forgotten"
        turn.tell(s.name, "settled", why)
    s = replace(s, settled=True, learned=s.learned.with_tries_forgotten())
    return probing.on_settled(turn, rollback.remember(turn, s))
