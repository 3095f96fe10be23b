# SPDX-License-Identifier: Apache-2.0
"""What a service that is ready must show before it counts as serving, and what follows."""

from __future__ import annotations

from dataclasses import replace

from agent.core.failures.classes import FailureClass
from agent.core.judges.alive import golden, hang_detection, unreached
from agent.core.judges.alive.activity import Activity, activity
from agent.core.judges.alive.killing import kill
from agent.core.judges.alive.start_told import tell_start, with_first_token
from agent.core.judges.turn import Turn
from agent.core.settings.service import OnMismatch
from agent.core.state.actions import Verify
from agent.core.state.held import Held, HeldBy
from agent.core.state.observations import Verified
from agent.core.state.phases import Phase, Then
from agent.core.state.service import ServiceState
from agent.core.verify.check import Check, Verdict

VERIFY_AGAIN_SECONDS = 10.0
VERIFY_LOST_SECONDS = 300.0
"""After this long without a result the verification is asked for again."""

FIRST_REQUEST_PATIENCE = 5.0
"""The first request may compile kernels for this many times the usual limit while it computes."""


def ask_verify(turn: Turn, s: ServiceState) -> ServiceState:
    """Have the verification list run."""
    assert s.running is not None
    turn.do(Verify(s.name, s.invocation_id, turn.policy_of(s), s.running, s.live.facts))
    return replace(s, live=replace(s.live, verify_pending=True, verify_at=turn.at))


def watch_verification(turn: Turn, s: ServiceState) -> ServiceState:
    """Ask again when a result is overdue."""
    patience = VERIFY_LOST_SECONDS if s.live.verify_pending else VERIFY_AGAIN_SECONDS
    return ask_verify(turn, s) if turn.at - s.live.verify_at >= patience else s


def on_verified(turn: Turn, s: ServiceState, done: Verified) -> ServiceState:
    """Take the verification's result into service, or act on it."""
    s = replace(s, checks=done.checks, live=replace(s.live, verify_pending=False))
    if done.refused:
        s = hang_detection.off(turn, s, done.refused)
    elif unreached.is_unreached(s):
        s = unreached.unjudged(turn, s, done.detail)
    elif done.answered:
        s = hang_detection.on(turn, s)
    s = golden.compare(turn, s, done)
    if s.phase is not Phase.VERIFYING:
        return s
    if not done.answered and unreached.is_unreached(s):
        return unreached.serves(turn, s)
    if not done.answered:
        return _not_answered(turn, s, done.detail)
    wrong = [check for check in s.checks if check.verdict is Verdict.CONTRADICTED]
    if wrong and turn.policy_of(s).expect.on_mismatch is OnMismatch.STOP:
        return _stop_for_mismatch(turn, s, wrong)
    why = _verified_sentence(s.checks)
    s = with_first_token(s, done.first_token_seconds)
    s = tell_start(turn, s.enter(Phase.SERVING, turn.at, why))
    turn.tell(s.name, "serving", why, phase=Phase.SERVING.value)
    for check in wrong:
        turn.tell(s.name, "mismatch", mismatch_sentence(check), item=check.item)
    # A canary proves nothing that the verification has not just proven.
    return replace(s, live=replace(s.live, tokens_at=turn.at, canary_at=turn.at))


def _not_answered(turn: Turn, s: ServiceState, detail: str) -> ServiceState:
    recovery = turn.policy_of(s).recovery
    waited = turn.at - s.since
    patience = FIRST_REQUEST_PATIENCE if activity(turn, s) is Activity.SOME else 1.0
    if waited < patience * (recovery.hang_seconds + recovery.canary_seconds):
        return replace(s, live=replace(s.live, verify_at=turn.at))
    why = f"ready for {waited:.0f} s, but the model completed no request ({detail})"
    return kill(turn, s, FailureClass.ENGINE_HUNG, why)


def _stop_for_mismatch(turn: Turn, s: ServiceState, wrong: list[Check]) -> ServiceState:
    why = "; ".join(mismatch_sentence(check) for check in wrong)
    pause = turn.pause_of(s)
    if pause is not None:
        s = turn.leave_alone(s, "mismatch", f"on_mismatch says to stop it: {why}")
        return replace(s, live=replace(s.live, verify_at=pause.until))
    s = turn.stop(s, why, then=Then.HOLD)
    do = f'Correct [service.{s.name}] in agent.toml, or set expect.on_mismatch = "alert".'
    s = turn.enter(s, Phase.STOPPING, "mismatch", f"stopped, as on_mismatch says: {why}")
    return replace(s, held=Held(HeldBy.MISMATCH, why, do))


def mismatch_sentence(check: Check) -> str:
    """Return one contradicted item as a sentence."""
    return f"{check.item}: asked {check.asked}, got {check.got}" + (
        f" ({check.note})" if check.note else ""
    )


def _verified_sentence(checks: tuple[Check, ...]) -> str:
    count = {v: sum(check.verdict is v for check in checks) for v in Verdict}
    return "serving: " + ", ".join(f"{count[v]} {v.value}" for v in Verdict)
