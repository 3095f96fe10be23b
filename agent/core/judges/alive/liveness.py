# SPDX-License-Identifier: Apache-2.0
"""Alive means tokens; starting means progress.

/health answers 200 for ever while the engine hangs (vLLM 0.8..0.32), so a serving engine is judged
by its token counters and, when they stand still, by a one-token request. A long queue and a long
prefill are busy, not dead. A starting engine is judged by whether its log still moves.
"""

from __future__ import annotations

from dataclasses import replace

from agent.core.failures.classes import EnginePhase, FailureClass
from agent.core.judges.alive import start_progress as startup
from agent.core.judges.cards import throttle
from agent.core.judges.recover import rollback
from agent.core.judges.recover import trials as probing
from agent.core.judges.turn import Turn
from agent.core.settings.service import OnMismatch
from agent.core.state.actions import Canary, TakeEvidence, Verify
from agent.core.state.observations import ApiSeen, CanaryDone, LogProgress, Verified
from agent.core.state.phases import Phase, Then
from agent.core.state.service import Asked, ServiceState
from agent.core.verify.check import Check, Verdict

MISSES_WHEN_IDLE = 2
"""Failed one-token requests in a row that make an idle engine a hung one."""

MISSES_WHEN_UNSEEN = 3
"""The same when /metrics was silent too: an overloaded front end answers late, but it answers, so
each of these requests gets twice the time of the one before."""

VERIFY_AGAIN_SECONDS = 10.0
VERIFY_LOST_SECONDS = 300.0
"""After this long without a result the verification is asked for again."""


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
    )
    just_complete = live.log_tells_ready and not s.live.log_tells_ready
    s = replace(s, live=live)
    if s.phase is Phase.VERIFYING and just_complete and not live.verify_pending:
        return _ask_verify(turn, s)
    return s


def on_api(turn: Turn, s: ServiceState, seen: ApiSeen) -> ServiceState:
    """Judge an answer of vLLM's HTTP side."""
    match s.phase:
        case Phase.STARTING if seen.healthy and s.asked is None:
            return _ready(turn, s)
        case Phase.SERVING | Phase.VERIFYING:
            return _count_tokens(turn, s, seen)
        case _:
            return s


def _ready(turn: Turn, s: ServiceState) -> ServiceState:
    took = turn.at - s.started_at
    s = turn.enter(
        s, Phase.VERIFYING, "ready", f"/health answers 200, {took:.0f} s after the start"
    )
    live = replace(s.live, engine_phase=EnginePhase.SERVING, tokens_at=turn.at, verify_at=turn.at)
    s = replace(s, start_seconds=took, live=live)
    # With half of the log, what was asked passes for what is so, as vLLM repeats it early: wait for
    # the line that says "ready", or for VERIFY_AGAIN_SECONDS where the log has none.
    return _ask_verify(turn, s) if live.log_tells_ready else s


def _ask_verify(turn: Turn, s: ServiceState) -> ServiceState:
    assert s.running is not None
    turn.do(Verify(s.name, s.invocation_id, turn.policy_of(s), s.running, s.live.facts))
    return replace(s, live=replace(s.live, verify_pending=True, verify_at=turn.at))


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
        ),
    )


def on_canary(turn: Turn, s: ServiceState, done: CanaryDone) -> ServiceState:
    """Judge the end of a one-token request."""
    live = replace(s.live, canary_pending=False)
    if s.phase is not Phase.SERVING:
        return replace(s, live=live)
    if done.answered:
        return replace(s, live=replace(live, canary_misses=0, tokens_at=turn.at, suspect=False))
    if live.suspect and live.xid is not None:
        return _on_suspect(turn, replace(s, live=live), live.xid, done.detail)
    if live.tokens_at >= live.canary_at:
        return replace(s, live=live)  # tokens moved meanwhile: busy, not dead
    s = replace(s, live=replace(live, canary_misses=live.canary_misses + 1))
    idle_for = turn.at - live.tokens_at
    if (
        s.live.canary_misses < _misses_that_prove(s)
        or idle_for < turn.policy_of(s).recovery.hang_seconds
    ):
        return s
    why = f"no token for {idle_for:.0f} s and a one-token request failed ({done.detail})"
    return _kill(turn, s, FailureClass.ENGINE_HUNG, why)


def _on_suspect(turn: Turn, s: ServiceState, xid: FailureClass, detail: str) -> ServiceState:
    """Judge a failed one-token request after the driver's error: only later tokens show life."""
    poll_seconds = turn.policy_of(s).recovery.poll_seconds
    if s.live.tokens_at >= s.live.canary_at + 2 * poll_seconds:
        return replace(s, live=replace(s.live, suspect=False))
    return _kill(turn, s, xid, f"a one-token request failed after the driver's error ({detail})")


def _misses_that_prove(s: ServiceState) -> int:
    if s.live.counters_at < s.live.canary_at:
        return MISSES_WHEN_UNSEEN
    # The request itself shows as work of an idle engine, so what was there before it counts.
    return 1 if s.live.canary_amid_work else MISSES_WHEN_IDLE


def _has_work(s: ServiceState) -> bool:
    counters = s.live.counters
    return counters is not None and counters.running + counters.waiting > 0


def on_verified(turn: Turn, s: ServiceState, done: Verified) -> ServiceState:
    """Take the verification's result into service, or act on it."""
    s = replace(s, checks=done.checks, live=replace(s.live, verify_pending=False))
    if s.phase is not Phase.VERIFYING:
        return s
    if not done.answered:
        return _not_answered(turn, s, done.detail)
    wrong = [check for check in done.checks if check.verdict is Verdict.CONTRADICTED]
    if wrong and turn.policy_of(s).expect.on_mismatch is OnMismatch.STOP:
        return _stop_for_mismatch(turn, s, wrong)
    s = turn.enter(s, Phase.SERVING, "serving", _verified_sentence(done.checks))
    for check in wrong:
        turn.tell(s.name, "mismatch", mismatch_sentence(check), item=check.item)
    # A canary proves nothing that the verification has not just proven.
    return replace(s, live=replace(s.live, tokens_at=turn.at, canary_at=turn.at))


def _not_answered(turn: Turn, s: ServiceState, detail: str) -> ServiceState:
    recovery = turn.policy_of(s).recovery
    waited = turn.at - s.since
    if waited < recovery.hang_seconds + recovery.canary_seconds:
        return replace(s, live=replace(s.live, verify_at=turn.at))
    why = f"ready for {waited:.0f} s, but the model completed no request ({detail})"
    return _kill(turn, s, FailureClass.ENGINE_HUNG, why)


def _stop_for_mismatch(turn: Turn, s: ServiceState, wrong: list[Check]) -> ServiceState:
    why = "; ".join(mismatch_sentence(check) for check in wrong)
    s = turn.stop(s, why, then=Then.HOLD)
    do = f'Correct [service.{s.name}] in agent.toml, or set expect.on_mismatch = "alert".'
    s = turn.enter(s, Phase.STOPPING, "mismatch", f"stopped, as on_mismatch says: {why}")
    return replace(s, what_to_do=do)


def mismatch_sentence(check: Check) -> str:
    """Return one contradicted item as a sentence."""
    return f"{check.item}: asked {check.asked}, got {check.got}" + (
        f" ({check.note})" if check.note else ""
    )


def _verified_sentence(checks: tuple[Check, ...]) -> str:
    count = {v: sum(check.verdict is v for check in checks) for v in Verdict}
    return "serving: " + ", ".join(f"{count[v]} {v.value}" for v in Verdict)


def on_tick(turn: Turn, s: ServiceState) -> ServiceState:
    """Judge what did not happen in time."""
    if s.name not in turn.policy.services or s.asked is not None:
        return s
    match s.phase:
        case Phase.STARTING:
            why = startup.stalled(turn, s)
            return _kill(turn, s, FailureClass.START_STALLED, why) if why else s
        case Phase.VERIFYING:
            return _watch_verification(turn, s)
        case Phase.SERVING:
            return _settle(turn, _watch_tokens(turn, s))
        case _:
            return s


def _watch_verification(turn: Turn, s: ServiceState) -> ServiceState:
    patience = VERIFY_LOST_SECONDS if s.live.verify_pending else VERIFY_AGAIN_SECONDS
    return _ask_verify(turn, s) if turn.at - s.live.verify_at >= patience else s


def _watch_tokens(turn: Turn, s: ServiceState) -> ServiceState:
    recovery, live = turn.policy_of(s).recovery, s.live
    # A canary has its own deadline; one that is lost with its lane is not waited for for ever.
    if live.canary_pending and turn.at - live.canary_at < 2 * live.canary_seconds:
        return s
    if live.counters is not None and live.counters.asleep:
        return replace(s, live=replace(live, tokens_at=turn.at))
    still = turn.at - max(live.tokens_at, live.canary_at)
    suspicious = _has_work(s) or live.canary_misses > 0
    if still < (recovery.hang_seconds if suspicious else recovery.canary_every_seconds):
        return s
    assert s.running is not None
    seconds = _canary_seconds(turn, s)
    turn.do(Canary(s.name, s.invocation_id, s.running, seconds))
    asked = replace(live, canary_pending=True, canary_at=turn.at, canary_seconds=seconds)
    return replace(s, live=replace(asked, canary_amid_work=_has_work(s)))


def _canary_seconds(turn: Turn, s: ServiceState) -> float:
    recovery = turn.policy_of(s).recovery
    seen = s.live.counters is not None and turn.at - s.live.counters_at < recovery.hang_seconds
    return recovery.canary_seconds * (1 if seen else 2 ** min(s.live.canary_misses, 2))


def _settle(turn: Turn, s: ServiceState) -> ServiceState:
    settle_seconds = turn.policy_of(s).recovery.settle_seconds
    if s.settled or s.phase is not Phase.SERVING or turn.at - s.since < settle_seconds:
        return s
    if s.attempts:
        why = f"served for {settle_seconds:.0f} s: the {s.attempts} tries before are forgotten"
        turn.tell(s.name, "settled", why)
    s = replace(s, settled=True, attempts=0, spent={})
    return probing.on_settled(turn, rollback.remember(turn, s))


def _kill(turn: Turn, s: ServiceState, failure: FailureClass, why: str) -> ServiceState:
    s = turn.enter(s, Phase.STOPPING, "kill", f"{failure.value}: {why}: kill and start again")
    settings = s.running or turn.policy_of(s).settings
    turn.do(TakeEvidence(s.name, s.invocation_id, settings.python))
    s = turn.stop(s, why, then=Then.RECOVER, kill=True)
    asked = s.asked
    assert isinstance(asked, Asked)
    return replace(s, asked=replace(asked, failure=failure))
