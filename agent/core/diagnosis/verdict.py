# SPDX-License-Identifier: Apache-2.0
"""From the story of a run to its outcome, its cause and the lines that prove it."""

from __future__ import annotations

from dataclasses import dataclass

from agent.core.diagnosis.findings import NOTE_WEIGHT, WRAPPER_WEIGHT, Finding
from agent.core.diagnosis.lines import seconds_between
from agent.core.diagnosis.run import Life
from agent.core.failures.classes import EnginePhase, FailureClass, Group, Outcome
from agent.core.failures.meaning import XidAction, group_of
from agent.core.failures.meaning import xid_action as action_of

MAX_EVIDENCE = 5

BLOCKED_MINUTES = 5
"""Minutes in which a ready engine's processes waited for each other: longer is a hang."""

IDLE_STATS = 6
"""Periodic lines (10 s each) with requests running and no token in or out: a hang."""

PROBES = 12
"""Health probes at least one per PROBE_SECONDS without one answered request, then a stop: somebody
watched an engine that gave nothing."""

PROBE_SECONDS = 2.0

_DIED_AT_WORK = ("encountered a fatal error", "DeadError", "Background loop")
"""Words of the wrappers that vLLM prints only when an engine that was up has died."""

_NOT_FETCHED = frozenset(
    {FailureClass.MODEL_PATH, FailureClass.WEIGHTS_MISSING, FailureClass.TOKENIZER_MISSING}
)
"""What vLLM says of a model whose files it could not fetch, as of one that is not there."""

_HUB_AWAY = frozenset({FailureClass.HUB_UNREACHABLE, FailureClass.HUB_RATE_LIMIT})

_DEGRADING = frozenset({FailureClass.CHAT_TEMPLATE_MISSING})
_SILENT_ACCESS_LOG = ("disable_uvicorn_access_log", "uvicorn_log_level", "disable_access_log")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a run came to; `finding` carries the numbers of the cause, where it printed any."""

    outcome: Outcome
    failure: FailureClass | None
    evidence: tuple[str, ...]
    also: tuple[FailureClass, ...] = ()
    finding: Finding | None = None


def judge(life: Life) -> Verdict:
    """Return the verdict on what was read so far."""
    findings = life.findings.by_weight()
    dead = life.tracebacks.deadly is not None and not life.stopping
    if any(f.ends for f in findings) or (dead and any(f.past for f in findings)):
        return _failed(life, findings)
    if dead and life.tracebacks.deadly is not None:
        return Verdict(Outcome.FAILED, FailureClass.UNKNOWN, (life.tracebacks.deadly,))
    hang = _hang(life)
    if hang is not None:
        return hang
    if life.fallbacks:
        return _degraded(life)
    if life.stopping:
        return _stopped(life)
    if life.exit_status:
        return Verdict(Outcome.FAILED, FailureClass.UNKNOWN, (life.exit_line,))
    if notes := [f for f in findings if f.weight >= NOTE_WEIGHT]:
        return _noted(life, notes)
    if life.ready:
        return Verdict(Outcome.READY, None, (life.ready_line,))
    if life.recognised:
        evidence = (life.phase_line,) if life.phase_line else ()
        return Verdict(Outcome.RUNNING, None, evidence)
    return Verdict(Outcome.UNKNOWN, None, ())


def _failed(life: Life, findings: list[Finding]) -> Verdict:
    cause = _hub_was_away(findings) or findings[0]
    also = _others(cause.failure, [f.failure for f in findings] + list(life.fallbacks))
    evidence = [cause.line]
    if cause.weight >= WRAPPER_WEIGHT and life.tracebacks.deadly is not None:
        evidence = [life.tracebacks.deadly, *(f.line for f in findings)]
        lines = tuple(dict.fromkeys(evidence))[:MAX_EVIDENCE]
        also = _others(FailureClass.UNKNOWN, [f.failure for f in findings])
        return Verdict(Outcome.FAILED, FailureClass.UNKNOWN, lines, also, cause)
    if group_of(cause.failure) is Group.MEMORY and life.phase_line:
        evidence.append(life.phase_line)
    evidence += [f.line for f in findings]
    failure = _settle_guess(life, cause)
    degraded = life.ready and failure in _DEGRADING
    outcome = Outcome.DEGRADED if degraded else Outcome.FAILED
    lines = tuple(dict.fromkeys(evidence))[:MAX_EVIDENCE]
    return Verdict(outcome, failure, lines, also, cause)


def _hub_was_away(findings: list[Finding]) -> Finding | None:
    """A hub that gave up answering, where all that is said at the end is that files are missing."""
    if findings[0].failure not in _NOT_FETCHED:
        return None
    return next((f for f in findings if f.soft and f.failure in _HUB_AWAY), None)


def _settle_guess(life: Life, cause: Finding) -> FailureClass:
    """An allocation that failed where no phase line survived: the wrappers tell start or run."""
    if not cause.guessed:
        return cause.failure
    fatal = any(word in f.line for f in life.findings for word in _DIED_AT_WORK)
    return FailureClass.OOM_RUNTIME if fatal else cause.failure


def _hang(life: Life) -> Verdict | None:
    served = life.served
    if served.blocked >= BLOCKED_MINUTES or served.idle_stats >= IDLE_STATS:
        return Verdict(Outcome.FAILED, FailureClass.ENGINE_HUNG, (served.idle_line,))
    if _watched_in_vain(life):
        said = f"{served.probes} health probes answered and no request completed before the stop"
        lines = (said, served.last_line)
        also = _others(FailureClass.ENGINE_HUNG, [life.asked] if life.asked else [])
        return Verdict(Outcome.FAILED, FailureClass.ENGINE_HUNG, lines, also)
    return None


def _watched_in_vain(life: Life) -> bool:
    served = life.served
    if not (life.stopping and life.ready and life.asked) or served.answers_ever:
        return False
    seconds = seconds_between(life.ready_stamp, life.asked_stamp)
    return served.probes >= PROBES and seconds <= served.probes * PROBE_SECONDS


def _degraded(life: Life) -> Verdict:
    failures = list(life.fallbacks)
    also = failures[1:] + ([life.asked] if life.stopping and life.asked else [])
    return Verdict(
        Outcome.DEGRADED,
        failures[0],
        tuple(life.fallbacks.values())[:MAX_EVIDENCE],
        _others(failures[0], also),
    )


def _stopped(life: Life) -> Verdict:
    evidence = [line for line in (life.asked_line, life.stop_line) if line]
    if life.asked_before_ready:
        evidence.insert(0, life.asked_before_ready)
        failure = FailureClass.SIGTERM_IGNORED_AT_STARTUP
    elif life.asked is FailureClass.SHUTDOWN_DRAIN:
        failure = FailureClass.SHUTDOWN_DRAIN
    elif life.waited_for_connections:
        failure = FailureClass.SHUTDOWN_OPEN_CONNECTION
    elif _nobody_ever_came(life):
        evidence.append("no request of any kind between ready and the stop")
        failure = FailureClass.SIGTERM_IGNORED_AT_STARTUP
    else:
        failure = FailureClass.SHUTDOWN_SIGTERM
    return Verdict(Outcome.STOPPED, failure, tuple(evidence[:MAX_EVIDENCE]))


def _nobody_ever_came(life: Life) -> bool:
    """A server that was started, came up and was never asked anything: its stop came too early.

    vLLM 0.16..0.32 swallow a SIGTERM during start-up without a word; this is all that shows.
    """
    asked = str(life.book.get("non_default_args") or "")
    return (
        life.ready
        and life.started
        and life.asked is not None
        and not life.served.last_line
        and not life.served.answers_ever
        and not any(option in asked for option in _SILENT_ACCESS_LOG)
    )


def _noted(life: Life, findings: list[Finding]) -> Verdict:
    cause = findings[0]
    code = int(cause.numbers.get("xid", 0))
    harmless = life.ready or action_of(code) is XidAction.NOTE
    outcome = Outcome.DEGRADED if harmless else Outcome.FAILED
    lines = tuple(dict.fromkeys(f.line for f in findings))[:MAX_EVIDENCE]
    also = _others(cause.failure, [f.failure for f in findings])
    return Verdict(outcome, cause.failure, lines, also, cause)


def _others(failure: FailureClass, failures: list[FailureClass]) -> tuple[FailureClass, ...]:
    return tuple(name for name in dict.fromkeys(failures) if name is not failure)


def phase_shown(life: Life) -> EnginePhase:
    """Return the phase to show: that of the cause while failing, else how far the run came."""
    return EnginePhase.STOPPING if life.ready and life.stopping else life.phase
